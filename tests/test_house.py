"""House rules: who imports whom, where compiled code stands, how long files and functions are, and that nobody's machine is in them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "backtest"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "strategies").glob("*.py"))

# From left to right: a module imports what stands left of it. `backtest/__init__.py` is the front door and may see all rooms.
ORDER = (
    "_version", "terminal", "card", "errors", "flags", "instruments", "venues", "data", "rule", "currency", "market", "execution", "load", "joins", "memo", "rolling", "curve", "signals", "kernels", "orders", "payments", "filters", "coins", "terms", "tapes", "strategy", "book", "ledger", "metrics", "kept", "liquidations", "exposure", "regimes", "quality", "entry_curves", "provenance",
    "result", "book_result", "checks", "prepare", "joint", "simulate", "baselines", "bridge", "causality", "compare", "space", "summaries", "scan", "overfitting", "plateau", "luck", "fingerprint", "shelf", "cluster", "chunks",
    "sweep", "windows", "forward", "purged", "study", "script", "scenarios", "stress", "overview", "report", "cli",
)  # fmt: skip
# Imports to the right happen in a function, when the user asks for what stands there; these are all of them.
ASKED_FOR = {
    ("card", "report"), ("script", "stress"), ("script", "report"), ("result", "baselines"), ("result", "bridge"), ("book_result", "baselines"), ("compare", "report"), ("sweep", "report"), ("forward", "report"), ("purged", "report"), ("strategy", "script"), ("stress", "report"), ("result", "report"), ("overview", "report"),
}  # fmt: skip

LONGEST_FILE, LONGEST_FUNCTION = 600, 80
LONG_FILES = {"backtest/kernels.py": "all compiled code stands in one file: numba doesn't see a change in another that it inlined"}
LONG_FUNCTIONS = {
    "backtest/kernels.py advance": "the one loop: a part moved out costs a call at every bar",
    "backtest/kernels.py scan": "the same loop for trades that are taken whole",
}
COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "jitclass", "generated_jit", "overload"}
ONLY_IN_REPORTS = {"matplotlib", "jinja2"}


def module_name(file: Path) -> str:
    """data.store for backtest/data/store.py, data for its __init__."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(file): file for file in SOURCES if file != PACKAGE / "__init__.py"}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imports(node: ast.AST, late: bool = False) -> Iterator[tuple[str, bool]]:
    """Every imported module (full name), and whether a function imports it; those for the type checker only are passed over."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((name.name, late) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for name in child.names:
                inside = f"{child.module}.{name.name}".removeprefix("backtest.") in MODULES
                yield (f"{child.module}.{name.name}" if inside else str(child.module)), late
        else:
            yield from imports(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def inner_imports(name: str) -> set[tuple[str, bool]]:
    """The package's own modules that a module imports, without the "backtest."."""
    return {(target.removeprefix("backtest."), late) for target, late in imports(tree(MODULES[name])) if target.split(".")[0] == "backtest"}


def room(name: str) -> str:
    return name.partition(".")[0]


# ---------------------------------------------------------------- imports


def test_the_order_names_every_room() -> None:
    assert {room(name) for name in MODULES} == set(ORDER)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_left_of_it(name: str) -> None:
    here = ORDER.index(room(name))
    for target, late in inner_imports(name):
        assert target != "backtest", f"{name} imports the front door, which imports it"
        if room(target) != room(name):
            allowed = ORDER.index(room(target)) < here or (late and (room(name), room(target)) in ASKED_FOR)
            assert allowed, f"{name} imports {target}, which stands right of it"


def test_every_exception_is_in_use() -> None:
    used = {(room(name), room(target)) for name in MODULES for target, late in inner_imports(name) if late}
    assert used >= ASKED_FOR


def test_no_imports_in_a_circle() -> None:
    """Within the rooms too; imports in functions don't count, they are made when everything is there."""
    graph = {name: {target for target, late in inner_imports(name) if not late and target != name} for name in MODULES}
    assert set(TopologicalSorter(graph).static_order()) >= set(graph)


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    for name, file in MODULES.items():
        for target, late in imports(tree(file)):
            library = target.partition(".")[0]
            assert library != "vectorbt" or late, f"{name} imports vectorbt for everybody"
            assert library != "pyarrow" or late, f"{name} imports pyarrow before a file is touched"
            assert library not in ONLY_IN_REPORTS or room(name) == "report", f"{name} imports {library}"


# ---------------------------------------------------------------- compiled code

# The engine's step and the statistics of windows: neither calls the other, as numba doesn't see a change in another file that it inlined.
COMPILED = {PACKAGE / "kernels.py", PACKAGE / "rolling.py"}
COMPILED_FILES = pytest.mark.parametrize("file", sorted(COMPILED), ids=lambda file: file.name)


@pytest.mark.parametrize("file", [file for file in [*SOURCES, *SCRIPTS] if file not in COMPILED], ids=lambda file: file.name)
def test_numba_stays_in_the_compiled_files(file: Path) -> None:
    assert not [target for target, _ in imports(tree(file)) if target.partition(".")[0] in ("numba", "llvmlite")]
    names = {
        getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(tree(file)) if isinstance(node, ast.Name | ast.Attribute)
    }
    typing = {name.name for node in tree(file).body if isinstance(node, ast.ImportFrom) and node.module == "typing" for name in node.names}
    assert not names & (COMPILERS - typing)


@COMPILED_FILES
def test_compiled_code_is_exact_and_in_one_file(file: Path) -> None:
    """Fast mathematics would let the compiler add in another order: kernel and judge would differ, and NaN lose its meaning."""
    for node in ast.walk(tree(file)):
        assert not (isinstance(node, ast.keyword) and node.arg in ("fastmath", "parallel")), ast.unparse(node)
    assert not inner_imports(module_name(file)), "a change in another file would not be compiled"


@COMPILED_FILES
def test_what_python_calls_is_cached_and_the_rest_melts_into_it(file: Path) -> None:
    compiled = {node.name: node for node in tree(file).body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    cached = {name for name, node in compiled.items() if any("cache=True" in ast.unparse(each) for each in node.decorator_list)}
    within = [called(node) for node in compiled.values()]
    plain = [node for node in tree(file).body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    alias = {"kernels.py": "k"}.get(file.name, file.stem)
    through = {
        node.attr
        for other in SOURCES
        for node in ast.walk(tree(other))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == alias
    }
    outside = through.union(*map(called, plain)) & set(compiled)
    assert outside == cached, "Python calls no kernel that is compiled anew in every process"
    assert set(compiled) <= cached.union(*within), "no kernel that nobody calls"


def called(node: ast.AST) -> set[str]:
    """The functions that are called in some code by their plain names."""
    return {child.func.id for child in ast.walk(node) if isinstance(child, ast.Call) and isinstance(child.func, ast.Name)}


def test_every_kernel_is_compiled() -> None:
    """In `rolling` what Python calls is Python: it puts rows in order for the kernels. `lent_code` writes compiled code."""
    for node in tree(PACKAGE / "kernels.py").body:
        if isinstance(node, ast.FunctionDef) and node.name != "lent_code":
            assert node.decorator_list, f"{node.name} is plain Python among compiled code"


# ---------------------------------------------------------------- size and words


@pytest.mark.parametrize("file", [*SOURCES, *SCRIPTS], ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_short(file: Path) -> None:
    name = str(file.relative_to(ROOT))
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE or name in LONG_FILES, f"{lines} lines"
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION or f"{name} {node.name}" in LONG_FUNCTIONS, f"{node.name}: {length} lines"


def test_every_exception_to_size_is_needed() -> None:
    for name in LONG_FILES:
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) > LONGEST_FILE, name
    for entry in LONG_FUNCTIONS:
        name, function = entry.split()
        (found,) = (node for node in tree(ROOT / name).body if isinstance(node, ast.FunctionDef) and node.name == function)
        assert (found.end_lineno or 0) - found.lineno + 1 > LONGEST_FUNCTION, entry


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """Public classes and functions of a module, with the methods of its classes; what an overload stands for says it."""
    for child in getattr(node, "body", []):
        if isinstance(child, ast.FunctionDef) and "overload" in map(ast.unparse, child.decorator_list):
            continue
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{child.name}.")


@pytest.mark.parametrize("file", [*SOURCES, *SCRIPTS], ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_public_is_documented_and_annotated(file: Path) -> None:
    module = tree(file)
    assert ast.get_docstring(module) or file.name == "_version.py", "a module says what it is for"
    for name, node in public(module):
        assert ast.get_docstring(node), f"{name} has no docstring"
        if isinstance(node, ast.FunctionDef):
            assert node.returns is not None, f"{name} has no return type"
            for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
                assert argument.annotation or argument.arg in ("self", "cls"), f"{name}: {argument.arg} has no type"


# ---------------------------------------------------------------- nobody's machine


def tracked() -> list[Path]:
    """The files of the repository; of an unpacked copy without a history, its sources."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [*SOURCES, *SCRIPTS, *(ROOT / "tests").glob("*.py"), *ROOT.glob("*.*")]
    return [file for file in found if file.is_file()]


# A path of somebody's machine begins a word; in the middle of an address it is somebody else's.
FOLDERS = "|".join(("work", "tmp", "root", "home", "Users", "mnt"))
MACHINE_PATH = re.compile(rf"(?<![\w./:~-])/(?:{FOLDERS})/")


def test_no_file_knows_a_machine() -> None:
    read = 0
    for file in tracked():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        read += 1
        for number, line in enumerate(text.splitlines(), 1):
            assert not MACHINE_PATH.search(line), f"{file.relative_to(ROOT)} line {number}: {line.strip()}"
    assert read > 30


def test_the_search_for_machine_paths_finds_them() -> None:
    for folder in ("tmp", "root"):
        assert MACHINE_PATH.search(f'open("/{folder}/x")')
    assert not MACHINE_PATH.search("https://example.com/home/x")
