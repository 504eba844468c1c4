"""What a result depends on, as one text: two texts are equal only where the results must be.

Values are written by what they are, not by where they lie; a strategy by its code as it was loaded, together with the functions, classes and constants of
the user's own that this code names. Of a library its version counts, of this package its version and its sources, of the market what was loaded.

    writer = Writer()
    fingerprint(grid, window=None, writer=writer)  # 32 hexadecimal digits
    writer.combination({"enter": 0.05, "exit": None})  # "enter=float:0.05, exit=None"
"""

import datetime
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, cached_property, partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest._version import __version__
from backtest.data.dataset import Dataset
from backtest.errors import ParameterError
from backtest.market import Market, nanoseconds
from backtest.rule import shown

if TYPE_CHECKING:
    from backtest.scan import Grid

ROOT = Path(__file__).parent
# what no result of a combination depends on
NO_ENGINE = (
    "report", "cli", "overview", "scenarios", "data/download", "data/importers", "space.py", "luck.py", "shelf.py", "cluster.py", "chunks.py", "sweep.py",
    "forward.py", "search.py", "compare.py", "stress.py", "causality.py",
)  # fmt: skip
LIBRARIES = ("numpy", "pandas", "numba")
MADE = ("__init__", "__eq__", "__hash__", "__repr__", "__setattr__", "__delattr__", "__replace__", "__lt__", "__le__", "__gt__", "__ge__")
ASIDE = (
    "__doc__", "__module__", "__qualname__", "__dict__", "__weakref__", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__dataclass_fields__", "__dataclass_params__", "__match_args__", "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl",
    "__signature__", "__classdictcell__",
)  # fmt: skip


def digest(*parts: str | bytes | memoryview) -> str:
    """32 hexadecimal digits that stand for some texts or bytes."""
    found = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        found.update(f"{len(data) if isinstance(data, bytes) else data.nbytes} ".encode())
        found.update(data)
    return found.hexdigest()


def fingerprint(grid: "Grid", window: tuple[int, int] | None = None, writer: "Writer | None" = None) -> str:
    """What all combinations of a grid share and their results depend on: market, engine, strategy, capital, execution and window.

    What is fixed is no part of it: it is written with each combination, so that what is fixed now may vary tomorrow. Raises ParameterError for a value that
    can't be written.
    """
    writer = writer or Writer()
    execution = None if grid.execution is None else writer.text(grid.execution)
    shared = (market_text(grid.market), engine(), writer.text(grid.base), writer.text(float(grid.capital)), str(execution), str(window))
    return digest(*shared)


@cache
def engine() -> str:
    """The version of this package with its sources, of Python and of the libraries that compute."""
    sources = sorted(path for path in ROOT.rglob("*") if path.suffix in (".py", ".toml"))
    names = [path.relative_to(ROOT).as_posix() for path in sources]
    read = [f"{name}\n" + (ROOT / name).read_text(encoding="utf-8") for name in names if not name.startswith(NO_ENGINE)]
    versions = [f"{name} {version(name)}" for name in LIBRARIES]
    return digest(__version__, f"{sys.implementation.name} {sys.version_info[:2]}", *versions, *read)


def version_of(module: str) -> str:
    """The version of an imported library, as it says itself."""
    return str(getattr(sys.modules.get(module), "__version__", ""))


def market_text(market: Market) -> str:
    """What was loaded: instruments, clock, prices, funding that was altered, and the hash of the dataset of which the rest is read. Computed once a market."""
    return market.memo("what the market holds", lambda: _market_text(market))


def _market_text(market: Market) -> str:
    writer, dataset = Writer(), market._dataset
    columns = [(f"{name} {column}", frame[column].to_numpy()) for name, frame in market._frames.items() for column in frame]
    columns += [(f"{name} ts", nanoseconds(pd.DatetimeIndex(frame.index))) for name, frame in market._frames.items()]
    columns += [(f"{name} rates", rates) for name, rates in market._rates.items()]
    with ThreadPoolExecutor(4) as readers:  # hashing leaves Python's lock alone
        held = list(readers.map(lambda item: f"{item[0]} {array_text(item[1])}", columns))
    rest = "" if isinstance(dataset, Dataset) else writer.lenient(dataset)
    described = [writer.lenient(one) for one in (market.instruments, market._view, market.step, market.start, market.staleness)]
    return digest(market.info.hash, rest, array_text(market.stamps), *described, *held)


def array_text(values: Any) -> str:
    """An array by its content."""
    values = np.asarray(values)
    if values.dtype.kind == "O":
        writer = Writer()
        return f"array of {digest(*map(writer.text, values.ravel().tolist()))} {values.shape}"
    data: Any = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return f"array of {values.dtype} {values.shape} {digest(memoryview(data))}"


class Writer:
    """Writes values and code; what code was written once isn't read again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, str]] = {}  # the code beside its text: an id is its own only while it lives
        self._within: dict[int, tuple[int, object]] | None = (
            None  # what was met while code is being written: its number, and itself as above
        )
        self._strict = True

    def combination(self, chosen: Mapping[str, Any]) -> str:
        """The values of one combination, in the order of their names."""
        return ", ".join(f"{name}={self.text(chosen[name])}" for name in sorted(chosen))

    def lenient(self, value: Any) -> str:
        """A value; of what can't be written its kind only."""
        before, self._strict = self._strict, False
        try:
            return self.text(value)
        finally:
            self._strict = before

    def text(self, value: Any) -> str:
        """A value by its content. Raises ParameterError for one that has none to be known by."""
        if value is None or value is pd.NaT or value is ...:
            return str(value)
        if isinstance(value, Enum):
            return f"{self.code(type(value))}.{value.name}"
        if isinstance(value, bool | int | float | complex | str | bytes) and type(value).__module__ == "builtins":
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, pd.Timedelta | datetime.timedelta | np.timedelta64):
            return f"duration:{pd.Timedelta(value).as_unit('ns').value}"
        if isinstance(value, datetime.datetime | np.datetime64):
            return f"time:{pd.Timestamp(value).isoformat()}"
        if isinstance(value, np.generic):
            return self.text(value.item())
        if isinstance(value, np.ndarray | pd.Series | pd.Index | pd.DataFrame | list | tuple | set | frozenset | Mapping):
            return self._several(value)
        if isinstance(value, Market):
            return f"market:{market_text(value)}"
        if is_dataclass(value) and not isinstance(value, type):
            return self._object(value)
        if isinstance(value, type | types.ModuleType | property | cached_property | staticmethod | classmethod | partial) or callable(
            value
        ):
            return self.code(value)
        return self._object(value)

    def _several(self, value: Any) -> str:
        """What holds other values."""
        if isinstance(value, np.ndarray):
            return array_text(value)
        if isinstance(value, pd.DataFrame):
            columns = [f"{name!r} {self.text(value[name])}" for name in value]
            return f"table[{self.text(value.index)}, {', '.join(columns)}]"
        if isinstance(value, pd.DatetimeIndex):
            return f"times[{value.dtype}, {array_text(nanoseconds(value))}]"  # as an array they would be objects, one by one
        if isinstance(value, pd.Series):
            return f"series[{self.text(value.index)}, {value.dtype}, {array_text(value.to_numpy())}]"
        if isinstance(value, pd.Index):
            return f"index[{value.dtype}, {array_text(value.to_numpy())}]"
        if isinstance(value, Mapping):
            return f"mapping[{', '.join(sorted(f'{self.text(key)}: {self.text(one)}' for key, one in value.items()))}]"
        inside = [self.text(one) for one in value]
        kind = type(value).__name__
        return f"{kind}[{', '.join(sorted(inside) if isinstance(value, set | frozenset) else inside)}]"

    def _object(self, value: Any) -> str:
        """An object by its class and what it holds."""
        if is_dataclass(value):
            held = {item.name: getattr(value, item.name) for item in fields(value) if hasattr(value, item.name)}
        elif type(value).__module__ != "builtins" and hasattr(value, "__dict__"):
            held = dict(vars(value))
        elif not self._strict or self._within is not None:
            return f"an object of {type(value).__module__}.{type(value).__qualname__}"
        else:
            raise ParameterError(
                f"{shown(repr(value))} can't be written down, so that its results could not be found again; give numbers, texts or dataclasses, "
                "or leave store out"
            )
        if (met := self._met(value)) is not None:
            return met
        return f"{self.code(type(value))}({', '.join(f'{name}={self.text(held[name])}' for name in sorted(held))})"

    def _met(self, thing: object) -> str | None:
        """How to say that something was met before within the code that is being written; None if it was not."""
        if self._within is None:
            return None
        if id(thing) in self._within:
            return f"again {self._within[id(thing)][0]}"
        self._within[id(thing)] = len(self._within), thing
        return None

    # ------------------------------------------------------------ code

    def code(self, thing: Any) -> str:
        """A class, function or module by its code as it was loaded, with what this code names; of a library its name and version."""
        if self._within is not None:
            return self._met(thing) or self._code(thing)
        if id(thing) not in self._known:
            self._within = {id(thing): (0, thing)}
            try:
                text = self._code(thing)
            finally:
                self._within = None
            self._known[id(thing)] = thing, text if len(text) < 80 else f"{getattr(thing, '__name__', 'code')} {digest(text)}"
        return self._known[id(thing)][1]

    def _code(self, thing: Any) -> str:
        if isinstance(thing, staticmethod | classmethod | types.MethodType):
            owner = self.text(thing.__self__) if isinstance(thing, types.MethodType) else type(thing).__name__
            return f"{owner} {self.code(thing.__func__)}"
        if isinstance(thing, property):
            return f"property {[self.code(one) for one in (thing.fget, thing.fset) if one is not None]}"
        if isinstance(thing, cached_property):
            return f"property {self.code(thing.func)}"
        if isinstance(thing, partial):
            return f"partial {self.code(thing.func)} {self.text(thing.args)} {self.text(thing.keywords)}"
        if isinstance(thing, types.ModuleType):
            return f"module {thing.__name__} {version_of(thing.__name__)}"
        if isinstance(thing, types.FunctionType) and is_own(thing.__globals__.get("__name__", "")):
            return self._function(thing)
        if isinstance(thing, type) and is_own(thing.__module__):
            return self._class(thing)
        within = getattr(thing, "py_func", None) or getattr(thing, "__wrapped__", None)  # a user's function that a library wrapped
        module = str(getattr(thing, "__module__", type(thing).__module__))
        name = f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)} {version_of(module.partition('.')[0])}".strip()
        if isinstance(within, types.FunctionType):
            return f"{name} of {self.code(within)}"
        return self._object(thing) if getattr(thing, "__dict__", None) and not isinstance(thing, type | types.FunctionType) else name

    def _class(self, kind: type) -> str:
        bases = [self.code(base) for base in kind.__mro__[1:] if base is not object]
        made = MADE if is_dataclass(kind) else ()
        held = [
            f"{name} {self.text(item)}" for name, item in sorted(vars(kind).items()) if name not in ASIDE and not is_made(item, name, made)
        ]
        if is_dataclass(kind):
            held += [f"field {item.name} {self.text(item.default)} {self.text(item.default_factory)}" for item in fields(kind)]
        return f"class {kind.__qualname__} {bases} {held}"

    def _function(self, function: types.FunctionType) -> str:
        read = function.__globals__
        names = names_of(function.__code__)
        named = []
        for name in names:
            if name not in read:
                continue
            value = read[name]
            named.append(f"{name} {self.text(value)}")
            if isinstance(value, types.ModuleType) and is_own(value.__name__):
                named += [f"{name}.{inner} {self.text(getattr(value, inner))}" for inner in names if hasattr(value, inner)]
        cells = [self.text(cell.cell_contents) if is_filled(cell) else "empty" for cell in function.__closure__ or ()]
        defaults = self.text((function.__defaults__, function.__kwdefaults__))
        wrapped = getattr(function, "__wrapped__", None)
        return f"def {self.compiled(function.__code__)} {defaults} {cells} {named} {'' if wrapped is None else self.text(wrapped)}"

    def compiled(self, code: types.CodeType) -> str:
        """Compiled code with its constants, but without lines and files."""
        constants = [self.compiled(one) if isinstance(one, types.CodeType) else self.text(one) for one in code.co_consts]
        return digest(
            code.co_code,
            str((code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags)),
            *constants,
        )


def names_of(code: types.CodeType) -> list[str]:
    """The names that some code and the code inside it use."""
    inner = [name for one in code.co_consts if isinstance(one, types.CodeType) for name in names_of(one)]
    return sorted({*code.co_names, *inner})


def is_filled(cell: Any) -> bool:
    """Whether a closure's cell holds anything yet."""
    try:
        return cell.cell_contents is not None or True
    except ValueError:
        return False


def is_made(item: Any, name: str, made: tuple[str, ...]) -> bool:
    """Whether a class's item was written by `dataclass` or by Python and not by its author."""
    if isinstance(item, types.MemberDescriptorType | types.GetSetDescriptorType):
        return True
    inner: Callable[..., Any] = getattr(item, "__wrapped__", item)
    return name in made and (not isinstance(inner, types.FunctionType) or inner.__code__.co_filename == "<string>")


@cache
def library_folders() -> tuple[Path, ...]:
    """Where Python and installed libraries lie."""
    paths = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return tuple({Path(path).resolve() for path in paths if path})


@cache
def is_own(module: str) -> bool:
    """Whether a module is the user's own: neither this package nor an installed library."""
    root = module.partition(".")[0]
    if root == __name__.partition(".")[0] or root in sys.builtin_module_names or root in sys.stdlib_module_names - {"__main__"}:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not any(Path(file).resolve().is_relative_to(folder) for folder in library_folders())
