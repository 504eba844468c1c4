"""What using it brought to light: each of these once lost data, invented some, or ended in a traceback."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import backtest as bt
from backtest.data.importers import import_files
from backtest.data.importers.common import Request
from backtest.data.schema import Tables
from backtest.data.store import Facts, open_dataset, updating, write_dataset
from backtest.errors import DataError, ParameterError
from backtest.instruments import Instrument, Kind

FACTS = Facts(name="x", source="test", simulated=False, licence="none")
SPOT = Instrument(id="ETHUSDT-SPOT", venue="binance", kind=Kind.SPOT, base="ETH", quote="USDT")
PERP = Instrument(id="ETHUSDT-PERP", venue="binance", kind=Kind.PERPETUAL, base="ETH", quote="USDT")
CLI = [sys.executable, "-c", "import sys; from backtest.cli import main; sys.exit(main())"]


def bars(start: str, periods: int, freq: str = "1h", price: float = 2000.0, **columns: object) -> pd.DataFrame:
    index = pd.date_range(start, periods=periods, freq=freq, tz="UTC").as_unit("ns").rename("ts")
    base = {name: np.full(periods, price) for name in ("open", "high", "low", "close")}
    return pd.DataFrame(base | {k: np.broadcast_to(np.asarray(v, float), periods).copy() for k, v in columns.items()}, index=index)


def klines(path: Path, start: str, periods: int, freq: str = "1h", price: float = 2000.0) -> Path:
    begin = pd.date_range(start, periods=periods, freq=freq, tz="UTC").as_unit("ms").asi8
    length = int(pd.Timedelta(freq) / pd.Timedelta("1ms"))
    frame = pd.DataFrame({"open_time": begin, "open": price, "high": price + 1, "low": price - 1, "close": price, "volume": 1.0})
    frame["close_time"] = begin + length - 1
    for name in ("quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"):
        frame[name] = 1.0
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def write(folder: Path, tables: Tables) -> str:
    return write_dataset(folder, tables, name="x", source="t", simulated=False, licence="none")


def test_mark_rows_after_the_klines_of_a_year_get_in_without_prices(tmp_path: Path) -> None:
    """Klines of January and mark klines of February in one import: 24 bars without open..close are written; the dataset can't be loaded."""
    klines(tmp_path / "um" / "klines" / "ETHUSDT-1h-2024-01.csv", "2024-01-01", 24)
    klines(tmp_path / "um" / "markPriceKlines" / "ETHUSDT-1h-2024-02.csv", "2024-02-01", 24)
    report = import_files("auto", [tmp_path / "um"], tmp_path / "d", Request())
    assert report.dataset.bars("ETHUSDT-PERP")["close"].notna().all()


def test_market_survives_an_import_into_its_dataset(tmp_path: Path) -> None:
    """A column that is read when first asked for has more rows than the loaded bars: a bare ValueError."""
    with updating(tmp_path / "d") as update:
        update.add("bars", SPOT.id, bars("2024-01-01", 48, volume=1.0))
        update.commit([SPOT], FACTS)
    market = bt.load_market(str(tmp_path / "d"))
    with updating(tmp_path / "d") as update:
        update.add("bars", SPOT.id, bars("2024-01-03", 24, volume=2.0))
        update.commit([SPOT], FACTS)
    with contextlib.suppress(DataError):  # one sentence would do, too
        assert len(market.raw(SPOT.id, "volume")) == 48


def test_reading_between_the_two_renames_is_not_an_empty_dataset(tmp_path: Path) -> None:
    """An open dataset whose folder is being swapped (or whose writer died there) gives no bars in place of an error."""
    write(tmp_path / "d", Tables(instruments=[SPOT], bars={SPOT.id: bars("2024-01-01", 48)}))
    dataset = open_dataset(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / ".d.old")  # what replace._swap does first
    with contextlib.suppress(DataError):
        assert len(dataset.bars(SPOT.id)) == 48


def test_ctrl_c_in_an_import_is_no_traceback(tmp_path: Path) -> None:
    source = klines(tmp_path / "spot_ETHUSDT.csv", "2015-01-01", 400_000, "1min")
    process = subprocess.Popen(
        [*CLI, "data", "import", str(source), "--into", str(tmp_path / "d")],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not (tmp_path / ".d.new").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert "Traceback" not in err
    assert process.returncode == 130


def test_import_from_s3_without_credentials_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    done = subprocess.run(
        [*CLI, "data", "import", "s3://desk/x.csv", "--into", str(tmp_path / "d")], capture_output=True, text=True, env=clean
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def _late_series(values: list[float]) -> pd.DataFrame:
    ts = pd.to_datetime(["2023-12-30", "2023-12-31"], utc=True)
    known = pd.to_datetime(["2024-01-01T12:00", "2023-12-31T01:00"], utc=True)  # the older value was published last
    return pd.DataFrame({"ts": ts, "known_at": known, "value": values})


def test_old_value_that_is_published_late_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    write(
        tmp_path / "d", Tables(instruments=[SPOT], bars={SPOT.id: bars("2024-01-01T01:00", 48)}, series={"yield": _late_series([1.0, 2.0])})
    )
    assert bt.load_market(str(tmp_path / "d")).series("yield")[-1] == 2.0  # the value of the 31st, known since then


def test_old_exchange_rate_that_is_published_late_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    write(
        tmp_path / "d",
        Tables(instruments=[SPOT], bars={SPOT.id: bars("2024-01-01T01:00", 24)}, series={"USDTUSD": _late_series([0.5, 1.0])}),
    )
    market = bt.load_market(str(tmp_path / "d"), currency="USD")
    assert market.raw(SPOT.id, "close")[-1] == 2000.0


def test_resampling_keeps_an_unknown_volume_unknown(tmp_path: Path) -> None:
    known = bars("2024-01-01T01:00", 48, volume=np.repeat([np.nan, 5.0], 24))
    write(tmp_path / "d", Tables(instruments=[SPOT], bars={SPOT.id: known}))
    volume = bt.load_market(str(tmp_path / "d"), freq="1D").raw(SPOT.id, "volume")
    assert np.isnan(volume[0])
    assert volume[1] == 120.0


def test_resampling_does_not_pair_quotes_of_different_hours(tmp_path: Path) -> None:
    """`last` passes over NaN: the bid of the first hour meets the ask of the last and the book is crossed."""
    frame = bars("2024-01-01T01:00", 48, bid=1999.0, ask=2001.0)
    frame.loc[frame.index[1:24], "bid"] = np.nan
    frame.loc[frame.index[12:24], ["open", "high", "low", "close"]] = 1900.0
    frame.loc[frame.index[12:24], "ask"] = 1901.0
    write(tmp_path / "d", Tables(instruments=[SPOT], bars={SPOT.id: frame}))
    market = bt.load_market(str(tmp_path / "d"), freq="1D")
    assert not (market.raw(SPOT.id, "ask") < market.raw(SPOT.id, "bid")).any()


def test_import_keeps_other_files_inside_the_tables_folders(tmp_path: Path) -> None:
    """README: "Other files in the folder stay too"."""
    write(tmp_path / "d", Tables(instruments=[SPOT], bars={SPOT.id: bars("2024-01-01", 48)}))
    notes = tmp_path / "d" / "bars" / "instrument=ETHUSDT-SPOT" / "NOTES.txt"
    notes.write_text("2024-01-02: bad hour, asked the venue")
    import_files("auto", [klines(tmp_path / "spot_ETHUSDT.csv", "2024-02-01", 24)], tmp_path / "d", Request())
    assert notes.exists()


@pytest.mark.parametrize("periods", [24, 200])
def test_bars_of_two_lengths_in_one_instrument_are_told(tmp_path: Path, periods: int) -> None:
    """300 hourly bars, then one-minute bars: neither the import nor the check says that the length changes."""
    from backtest.data.checks import check_dataset

    import_files("auto", [klines(tmp_path / "spot_ETHUSDT_1h.csv", "2024-01-01", 300, "1h")], tmp_path / "d", Request())
    with contextlib.suppress(DataError):
        import_files("auto", [klines(tmp_path / "spot_ETHUSDT_1m.csv", "2024-02-01", periods, "1min")], tmp_path / "d", Request())
        found = check_dataset(open_dataset(tmp_path / "d"))
        assert any("length" in text or "1 min" in text or "1min" in text for text in [*found.errors, *found.problems, *found.notes])


def test_mapping_refuses_a_length_without_a_unit(tmp_path: Path) -> None:
    """Bar = "60" is 60 nanoseconds: each hourly bar is stamped with its start, which is an hour of look-ahead."""
    (tmp_path / "m.toml").write_text(
        'what = "bars"\n[time]\ncolumn = "t"\nstamp = "start"\nbar = "60"\n[columns]\nopen = "o"\nhigh = "h"\nlow = "l"\nclose = "c"\n'
        '[instrument]\nid = "X-SPOT"\nvenue = "x"\nkind = "spot"\nbase = "X"\nquote = "USD"\n'
    )
    (tmp_path / "x.csv").write_text("t,o,h,l,c\n2024-01-01T00:00:00Z,1,1,1,1\n2024-01-01T01:00:00Z,1,1,1,1\n")
    with pytest.raises(ParameterError):
        import_files("csv", [tmp_path / "x.csv"], tmp_path / "d", Request(mapping=tmp_path / "m.toml"))


def test_cli_refuses_a_bar_without_a_unit(tmp_path: Path) -> None:
    source = klines(tmp_path / "spot_ETHUSDT.csv", "2024-01-01", 24)
    done = subprocess.run(
        [*CLI, "data", "import", str(source), "--into", str(tmp_path / "d"), "--bar", "60"], capture_output=True, text=True
    )
    assert done.returncode == 2


def test_import_of_many_blocks_does_not_run_out_of_files(tmp_path: Path) -> None:
    """Every block that spills keeps its file open: 300 blocks (30 instruments of ten years) are too many for macOS's 256."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})
from test_use import *
one = [Instrument(id=f"A{{n}}-SPOT", venue="binance", kind=Kind.SPOT, base=f"A{{n}}", quote="USDT") for n in range(300)]
with updating({str(tmp_path / "d")!r}) as update:
    for each in one:
        update.add("bars", each.id, bars("2024-01-02", 900, "1min"))
    update.commit(one, FACTS)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]


def test_hash_of_equal_values_is_equal(tmp_path: Path) -> None:
    """0 and -0 are one value (an import of both says "unchanged"), and two folders with it have two hashes."""
    hashes = []
    for zero in (0.0, -0.0):
        funding = pd.DataFrame(
            {"rate": [zero], "interval_hours": [8.0]}, index=pd.DatetimeIndex(["2024-01-01T08:00Z"], name="ts").as_unit("ns")
        )
        hashes.append(write(tmp_path / f"d{len(hashes)}", Tables(instruments=[PERP], funding={PERP.id: funding})))
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("harm", ["value changed", "file lost"])
def test_import_into_a_damaged_block_does_not_make_it_good(tmp_path: Path, harm: str) -> None:
    """A block was changed behind the back (check says so). An append to it hashes the damage anew, and check calls the dataset good."""
    from backtest.data.checks import check_dataset

    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        with updating(tmp_path / "d") as update:
            update.add("bars", SPOT.id, bars(day, 24, price=2000.0 + float(day[-1])))
            update.commit([SPOT], FACTS)
    part = tmp_path / "d" / "bars" / f"instrument={SPOT.id}" / "year=2024" / "part-2.parquet"
    if harm == "file lost":
        part.unlink()
    else:
        frame = pd.read_parquet(part)
        frame.loc[5, ["open", "high", "low", "close"]] = 99.0
        frame.to_parquet(part)
    assert any("content hash" in error for error in check_dataset(open_dataset(tmp_path / "d")).errors)
    with contextlib.suppress(DataError), updating(tmp_path / "d") as update:  # refusing is right
        update.add("bars", SPOT.id, bars("2024-01-04", 24))
        update.commit([SPOT], FACTS)
    assert any("content hash" in error for error in check_dataset(open_dataset(tmp_path / "d")).errors)


def test_loading_through_a_swap_does_not_lose_an_instrument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen live with 60 imports under a reader: once a market of one instrument in place of two, once a bare FileNotFoundError, six times "truncated or damaged"."""
    import backtest.load as load

    write(tmp_path / "d", Tables(instruments=[SPOT, PERP], bars={SPOT.id: bars("2024-01-01", 48), PERP.id: bars("2024-01-01", 48)}))
    real = load.read

    def read(dataset, name, *rest):
        if name == SPOT.id and (tmp_path / "d").exists():
            (tmp_path / "d").rename(tmp_path / ".d.old")
        return real(dataset, name, *rest)

    monkeypatch.setattr(load, "read", read)
    monkeypatch.setattr(load, "MOST_READERS", 1)
    with contextlib.suppress(DataError):
        assert set(load.load_market(str(tmp_path / "d")).instruments) == {SPOT.id, PERP.id}
