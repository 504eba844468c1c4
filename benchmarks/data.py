"""Time what data cost: an import of klines beside pandas, its peak memory by size, and loading five years of minutes of six instruments.

python benchmarks/data.py            # a million and ten million rows, about two minutes and 3 GB of disk
python benchmarks/data.py --quick    # a tenth of it, to see that it works
python benchmarks/data.py --write    # and put the table into benchmarks/README.md
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from run import busy, machine

from backtest.data.store import Facts, updating
from backtest.instruments import Instrument, Kind

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- data: written by data.py --write -->", "<!-- end of data -->"
MINUTES = 5 * 365 * 1440
ROUNDS = 5

# Each runs in a process of its own, says the seconds that the work took (imports excluded, compiled nothing) and the peak of its memory in MB.
FRAME = """
import json, re, sys, time
{imports}
begin = time.perf_counter()
{work}
seconds = time.perf_counter() - begin
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
print(json.dumps([seconds, int(peak[1]) / 1024]))
"""
IMPORT = (
    "import pandas, pyarrow.csv, pyarrow.parquet\nfrom backtest.data.importers import import_files\nfrom backtest.data.importers.common import Request",
    "import_files('binance', [sys.argv[1]], sys.argv[2], Request())",
)
PANDAS = (
    "import pandas, pyarrow.parquet",
    "pandas.read_csv(sys.argv[1]).to_parquet(sys.argv[2])",
)
PANDAS_ARROW = (
    "import pandas, pyarrow.csv, pyarrow.parquet",
    "pandas.read_csv(sys.argv[1], engine='pyarrow').to_parquet(sys.argv[2])",
)
LOAD = ("import backtest as bt, pyarrow.parquet", "bt.load_market(sys.argv[1])")
READ = (
    "import glob, pyarrow.parquet",
    "[pyarrow.parquet.ParquetFile(file).read(columns=['ts', 'open', 'high', 'low', 'close']) for file in glob.glob(sys.argv[1] + '/bars/*/*/*.parquet')]",
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time what data cost: importing klines, and loading a market.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows: does it work, not how fast")
    parser.add_argument("--write", action="store_true", help="replace the table in benchmarks/README.md")
    given = parser.parse_args()
    scale = 10 if given.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join([*lead(), "", *importing(Path(folder), scale), "", *loading(Path(folder), scale)])
    print(text)
    if given.write:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


def lead() -> list[str]:
    where = machine()
    versions = ", ".join(f"{name} {where[name]}" for name in ("numpy", "pandas"))
    return [
        f"{ROUNDS} rounds, a new process each; {where['cores']} cores, {where['processor']}, Python {where['python']}, {versions}, pyarrow {version('pyarrow')}.",
        *busy(),
    ]


def importing(folder: Path, scale: int) -> list[str]:
    """The import of a million klines beside pandas, and of ten million."""
    small, large = (klines(folder / f"spot_ETHUSDT_{rows}.csv", rows) for rows in (1_000_000 // scale, 10_000_000 // scale))
    rows = [
        "| import of klines (12 columns) | rows | times pandas + pyarrow | M rows/s (least – most) | peak MB |",
        "|---|---:|---:|---:|---:|",
    ]
    taken = {name: [] for name in ("carry-backtest", "pandas.read_csv, to_parquet", "the same, engine pyarrow")}
    for number in range(ROUNDS):
        for name, code in zip(taken, (IMPORT, PANDAS, PANDAS_ARROW), strict=True):
            taken[name].append(timed(code, small, folder / f"out-{number}-{name[:5]}"))
    unit = [seconds for seconds, _ in taken["the same, engine pyarrow"]]
    for name, found in taken.items():
        ratio = median(seconds / one for (seconds, _), one in zip(found, unit, strict=True))
        speed = spread([1 / scale / seconds for seconds, _ in found])
        rows.append(f"| {name} | {1_000_000 // scale:,} | {ratio:.2f} | {speed} | {max(memory for _, memory in found):.0f} |")
    seconds, memory = timed(IMPORT, large, folder / "out-large")
    rows.append(f"| carry-backtest | {10_000_000 // scale:,} | | {10 / scale / seconds:.2f} | {memory:.0f} |")
    return rows


def loading(folder: Path, scale: int) -> list[str]:
    """`load_market` beside reading the same columns of the same files with pyarrow and doing nothing with them."""
    dataset = six(folder / "six", MINUTES // scale)
    taken = [(timed(LOAD, dataset), timed(READ, dataset)) for _ in range(ROUNDS)]
    ratio = median(ours[0] / theirs[0] for ours, theirs in taken)
    name = f"six instruments, {MINUTES // scale:,} minutes each"
    return [
        "| loading | times pyarrow reading the same columns | seconds (least – most) | peak MB |",
        "|---|---:|---:|---:|",
        f"| `load_market`: {name} | {ratio:.2f} | {spread([ours[0] for ours, _ in taken])} | {max(ours[1] for ours, _ in taken):.0f} |",
    ]


def spread(values: list[float]) -> str:
    """The median, and the least and the most: other guests of a machine are felt most where memory is moved."""
    return f"{median(values):.2f} ({min(values):.2f} – {max(values):.2f})"


def timed(code: tuple[str, str], *arguments: Path) -> tuple[float, float]:
    """Seconds and peak MB of some code in a process of its own."""
    text = FRAME.format(imports=code[0], work=code[1])
    done = subprocess.run([sys.executable, "-c", text, *map(str, arguments)], capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def klines(file: Path, rows: int) -> Path:
    """Seconds of klines in the shape of the archive, from a seed."""
    draw, last = np.random.default_rng(3), 2000.0
    with file.open("w") as out:
        for first in range(0, rows, 1_000_000):
            count = min(1_000_000, rows - first)
            close = np.round(last + np.cumsum(draw.normal(0, 0.02, count)), 2)
            last, start = close[-1], 1_609_459_200_000 + 1000 * (first + np.arange(count))
            columns = {
                "open_time": start, "open": close, "high": close + 1, "low": close - 1, "close": np.round(close + 0.1, 2),
                "volume": np.round(draw.exponential(100, count), 5), "close_time": start + 999, "quote_volume": np.round(close * 100, 7),
                "count": draw.integers(0, 1000, count), "taker_buy_volume": np.round(draw.exponential(50, count), 5),
                "taker_buy_quote_volume": np.round(close * 50, 7), "ignore": 0,
            }  # fmt: skip
            pd.DataFrame(columns).to_csv(out, index=False, header=first == 0)
    return file


def six(folder: Path, minutes: int) -> Path:
    """A dataset of a spot, a perpetual and four contracts with bars of the same minutes."""
    index = pd.date_range("2021-01-01T00:01", periods=minutes, freq="1min", tz="UTC", name="ts").as_unit("ns")
    draw = np.random.default_rng(5)
    level = 2000 * np.exp(np.cumsum(draw.normal(0, 3e-4, minutes)))
    expiries = [pd.Timestamp(f"2026-{month}-25T08:00Z") for month in ("03", "06", "09", "12")]
    kinds = [("SPOT", Kind.SPOT, None), ("PERP", Kind.PERPETUAL, None), *((f"{day:%y%m%d}", Kind.FUTURE, day) for day in expiries)]
    instruments = [
        Instrument(id=f"ETHUSDT-{name}", venue="binance", kind=kind, base="ETH", quote="USDT", expires_at=expiry)
        for name, kind, expiry in kinds
    ]
    with updating(folder) as update:
        for one in instruments:
            close = np.round(level * (1 + draw.normal(0, 1e-4, minutes)), 2)
            opens = np.append(close[:1], close[:-1])
            prices = {"open": opens, "high": np.maximum(opens, close) + 0.01, "low": np.minimum(opens, close) - 0.01, "close": close}
            volumes = {"volume": np.round(draw.exponential(10, minutes), 3), "taker_buy_volume": np.round(draw.exponential(3, minutes), 3)}
            update.add("bars", one.id, pd.DataFrame({**prices, **volumes}, index=index))
        update.commit(instruments, Facts(name="six", source="made for a benchmark", simulated=True, licence="none"))
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
