"""From vendors' files to a dataset: one interface, one module a vendor, and one way in.

Files are read and checked whole, merged with what the dataset has, checked again, and only then written; whatever is wrong with any of them
leaves the old dataset as it was.

    report = import_files("binance", [Path("spot.csv")], "data/mine", Request(symbol="ETHUSDT"))
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

from backtest.data.importers.common import Imported, Importer, Request
from backtest.data.importers.merge import merge
from backtest.data.replace import local_folder
from backtest.data.schema import Tables
from backtest.data.store import Dataset, content_hash, open_dataset, write_dataset
from backtest.data.validate import refuse, table_errors
from backtest.errors import DataError, ParameterError, did_you_mean

SOURCES = {"binance": "backtest.data.importers.binance", "csv": "backtest.data.importers.table"}
LICENCE = "the vendor's terms; not for redistribution"

_NAMED_FILES = 20


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did: the lines and notes of its files, and the dataset that came out."""

    imported: Imported
    dataset: Dataset
    changed: bool


def import_files(source: str, files: Sequence[str | Path], into: str | Path, request: Request, name: str | None = None) -> ImportReport:
    """Import some files or folders of CSV files into the dataset in a folder, which is made if it is not there.

    Raises `ParameterError` for an unknown source, `DataError` for data that can't be trusted, `StorageError` where nothing can be written;
    in each case what was there stays.
    """
    if source not in SOURCES:
        raise ParameterError(f'unknown source "{source}"; {did_you_mean(source, list(SOURCES))}')
    importer = cast(Importer, import_module(SOURCES[source]))
    before = _present(into)
    if before is not None and before.simulated:
        raise DataError(f"{before.path}: is simulated; real data don't belong into it; import into another folder")
    old = Tables() if before is None else before.tables()
    refuse(table_errors(old))
    every = _every_file(files)
    imported = importer.parse(every, replace(request, known={one.id: one for one in old.instruments}))
    tables = merge(old, imported.tables)
    refuse(table_errors(tables))
    changed = before is None or content_hash(tables) != before.hash
    if changed or (name is not None and before is not None and name != before.name):
        write_dataset(
            into,
            tables,
            name=name or (before.name if before else local_folder(into).name),
            source=_source(before, source, every),
            simulated=False,
            licence=str(before.info.get("licence", LICENCE)) if before else LICENCE,
        )
    return ImportReport(imported=imported, dataset=open_dataset(into), changed=changed)


def _present(into: str | Path) -> Dataset | None:
    """The dataset to add to; None for a folder that is not there or is empty, or that the store will refuse to replace."""
    folder = local_folder(into)
    aside = folder.parent / f".{folder.name}.old"
    return open_dataset(into) if (folder / "dataset.json").exists() or aside.exists() else None


def _every_file(files: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, files):
        inside = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: the folder has no .csv file; unpack the archives, or name the files")
        found += inside
    return list(dict.fromkeys(found))


def _source(before: Dataset | None, source: str, files: Sequence[Path]) -> str:
    names = [file.name for file in files]
    more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
    now = f"{source}: {', '.join(names[:_NAMED_FILES])}{more}"
    past = [part for part in str(before.info.get("source", "")).split("; ") if part] if before else []
    return "; ".join(dict.fromkeys([*past, now]))
