"""Files that no import may take: each is refused with one sentence that says where, and nothing is written.

The files are Binance klines as the archive has them and as users write them; what is read before a vendor's own module is all vendors' alike.
"""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from test_import_binance_archive import HOUR, JANUARY, NAMES, klines, packed
from vendor_files import write

from backtest.data.importers import common, import_files
from backtest.data.importers.common import Request
from backtest.data.store import open_dataset
from backtest.errors import DataError

TABLE = "Timestamp,Open,High,Low,Close\n" + "".join(f"2024-01-01 0{hour}:00:00,10,12,9,11\n" for hour in range(6))
BULK = klines(count=8)
ZIPPED = packed({"spot_ETHUSDT.csv": klines(count=5000)})
HYPERLIQUID = '[{"coin": "ETH", "fundingRate": "0.0000125", "premium": "0.0001", "time": 1704067200151}]'
BLOCKS = pytest.mark.parametrize("block", [1 << 23, 200], ids=["one block", "several blocks"])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A dataset that has something already."""
    into = tmp_path / "good"
    import_files("binance", [write(tmp_path, "perp_BTCUSDT.csv", klines())], into, Request())
    return into


def refused(tmp_path: Path, content: str | bytes, message: str, name: str = "spot_ETHUSDT.csv", vendor: str = "binance") -> None:
    """A file is refused with this message by a vendor and by all of them together, and nothing is written, be there a dataset or not."""
    file = write(tmp_path, name, content)
    before = {each: each.read_bytes() for each in (tmp_path / "good").rglob("*") if each.is_file()}
    for into in ("good", "none"):
        with pytest.raises(DataError, match=message) as found:
            import_files(vendor, [file], tmp_path / into, Request())
        told = str(found.value).replace(f"{tmp_path}/", "")
        assert "\n" not in told
        assert len(told) < 300
    assert {each: each.read_bytes() for each in (tmp_path / "good").rglob("*") if each.is_file()} == before
    assert not (tmp_path / "none").exists()
    assert not list(tmp_path.glob(".*"))


def line(number: int, change: Callable[[str], str], text: str = BULK) -> str:
    """A text with one of its lines, counted from 1, changed."""
    lines = text.splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    return "".join(lines)


def cell(number: int, column: str, value: str) -> str:
    """The bulk file with another value in a column of one line."""
    place = NAMES.strip().split(",").index(column)

    def change(row: str) -> str:
        cells = row.strip().split(",")
        cells[place] = value
        return ",".join(cells) + "\n"

    return line(number, change)


# --- whose it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "vendor", "message"),
    [
        (HYPERLIQUID, "a.json", "binance", r'a\.json: is not a file of binance \(it begins with \[\{"coin".*\); leave it out, or use'),
        (BULK, "spot_ETHUSDT.csv", "hyperliquid", r"spot_ETHUSDT\.csv: is not a file of hyperliquid \(it begins with 1704067200000, "),
        (TABLE, "spot_ETHUSDT.csv", "deribit", r"is not a file of deribit \(it begins with Timestamp, Open, High, Low, Close\)"),
        ("name,place\nA,B\n", "a.csv", "auto", r"a\.csv: is not a file of any vendor known here \(it begins with name, place\)"),
        (
            '{"code":-1121,"msg":"Invalid symbol."}',
            "a.json",
            "auto",
            r'a\.json: is a venue\'s error answer, not data: "Invalid symbol\." \(code -11',
        ),
        ('{"code":-1121,"msg":"Invalid symbol."}', "a.json", "binance", r"a\.json: is a venue's error answer, not data"),
        ("", "spot_ETHUSDT.csv", "auto", r"spot_ETHUSDT\.csv: is empty; remove it or download it again"),
        (" \n\n \r\n", "spot_ETHUSDT.csv", "auto", r"spot_ETHUSDT\.csv: is empty; remove it"),
        (NAMES, "spot_ETHUSDT.csv", "auto", r"spot_ETHUSDT\.csv: is empty: it has no rows of data; remove it or download it again"),
        (
            bytes(range(256)) * 300,
            "spot_ETHUSDT.csv",
            "auto",
            r"spot_ETHUSDT\.csv: is not a file of any vendor known here, nor text in UTF-8",
        ),
        (
            TABLE.encode("utf-16"),
            "spot_ETHUSDT.csv",
            "auto",
            r"spot_ETHUSDT\.csv: is not a file of any .*, nor text in UTF-8; .* convert it",
        ),
        (TABLE.replace("Open", "Op\0en"), "spot_ETHUSDT.csv", "binance", r"is not a file of binance, nor text in UTF-8"),
    ],
)
def test_a_file_of_someone_else_or_of_nobody(
    tmp_path: Path, good: Path, content: str | bytes, name: str, vendor: str, message: str
) -> None:
    refused(tmp_path, content, message, name, vendor)


@pytest.mark.parametrize(
    "page", ["<html><body>403 Forbidden</body></html>", "\n  <!DOCTYPE html>\n<html>", '<?xml version="1.0"?><Error/>']
)
@pytest.mark.parametrize("name", ["spot_ETHUSDT.csv", "spot_ETHUSDT.csv.gz", "spot_ETHUSDT.zip", "spot_ETHUSDT.json"])
@pytest.mark.parametrize("vendor", ["auto", "binance"])
def test_a_web_page_saved_under_the_name_of_data(tmp_path: Path, good: Path, page: str, name: str, vendor: str) -> None:
    refused(tmp_path, page.encode(), rf"{name}: is a web page, not (data|an archive); download it again", name, vendor)


# --- archives --------------------------------------------------------------------------------------------


def spoilt(position: int, value: int, content: bytes = ZIPPED) -> bytes:
    """An archive with one byte changed, in the member's head and in the directory at the end alike."""
    changed, directory = bytearray(content), content.index(b"PK\x01\x02")
    changed[position] = value
    changed[directory + position + 2] = value
    return bytes(changed)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ZIPPED[: len(ZIPPED) // 2], r"a\.zip: is truncated or damaged and can't be unpacked \(.*\); download it again"),
        (ZIPPED[:-4], r"a\.zip: is truncated or damaged and can't be unpacked"),
        (b"", r"a\.zip: is empty; remove it or download it again"),
        (flipped(ZIPPED, 5000), r"a\.zip/spot_ETHUSDT\.csv: is truncated or damaged and can't be unpacked"),
        (spoilt(14, ZIPPED[14] ^ 0xFF), r"a\.zip/spot_ETHUSDT\.csv: is truncated or damaged and can't be unpacked \(Bad CRC-32 for file"),
        (
            spoilt(6, 1),
            r"a\.zip/spot_ETHUSDT\.csv: can't be unpacked \(File 'spot_ETHUSDT\.csv' is encrypted.*\); unpack the archive yourself",
        ),
        (spoilt(8, 9), r"a\.zip/spot_ETHUSDT\.csv: can't be unpacked \(That compression method is not supported\); unpack the archive"),
        (packed({}), r"a\.zip: the archive is empty; download it again"),
        (
            packed({"readme.txt": "hello", ".DS_Store": "x"}),
            r"a\.zip: has no file that ends in \.csv.*, only readme\.txt, \.DS_Store; unpack it",
        ),
        (packed({"b.zip": b"PK"}), r"a\.zip/b\.zip: is truncated or damaged and can't be unpacked"),
        (packed({"spot_ETHUSDT.csv": BULK, "b.csv": "name,place\nA,B\n"}), r"a\.zip/b\.csv: is not a file of binance"),
        (packed({"spot_ETHUSDT.csv": cell(3, "low", "x")}), r'a\.zip/spot_ETHUSDT\.csv line 3: low is "x", not a number'),
    ],
)
def test_a_bad_archive(tmp_path: Path, good: Path, content: bytes, message: str) -> None:
    refused(tmp_path, content, message, "a.zip")


@pytest.mark.parametrize("rows", [8, 5000])
def test_a_gzip_that_was_cut_or_changed(tmp_path: Path, good: Path, rows: int) -> None:
    """Short ones are found when they are recognised, long ones only at their end, when rows have been taken in."""
    content = gzip.compress(klines(count=rows).encode())
    name, damaged = "spot_ETHUSDT.csv.gz", r"spot_ETHUSDT\.csv\.gz: is truncated or damaged and can't be unpacked"
    refused(tmp_path, content[: len(content) * 9 // 10], damaged, name)
    refused(tmp_path, content[:-8] + bytes(4) + content[-4:], rf"{damaged} \(CRC check failed", name)
    refused(tmp_path, b"\x1f\x8b" + bytes(50), damaged, name)


# --- what stands in it -----------------------------------------------------------------------------------


@BLOCKS
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            cell(7, "open_time", str(1704088800000 * 1000)),
            r'line 7: open_time is "1704088800000000", not a time .*; it looks like us among ms',
        ),
        (cell(7, "open_time", "1704088800"), r"line 7: .* it looks like s among ms; correct the row"),
        (cell(7, "open_time", "20250101000000000"), r"line 7: .* markets' times lie between 2001 and 2286"),
        (cell(7, "open_time", "0"), r'line 7: open_time is "0", not a time .* markets\' times lie between 2001 and 2286'),
        (cell(7, "open_time", "-1"), r'line 7: open_time is "-1", not a time'),
        (cell(7, "open_time", ""), r'line 7: open_time is "", not a time'),
        (cell(7, "open_time", "soon"), r'line 7: open_time is "soon", not a time'),
        (cell(7, "open_time", "9" * 30), r'line 7: open_time is "9{30}", not a time'),
        (cell(7, "open_time", "1.7E12"), r'line 7: open_time is "1\.7E12", not a time'),
        (cell(7, "open_time", "2024-01-01"), r'line 7: open_time is "2024-01-01", not a time'),
        (cell(7, "close_time", "1704092399"), r"line 7: close_time is .* it looks like s among ms"),
        (line(7, lambda row: NAMES + row, klines(count=8, header=True)), r"line 7: repeats the header of the file; .* remove the line"),
        (line(7, lambda row: row * 2), r"line 8: time 2024-01-01T06:00Z stands twice; times must be unique; keep one of the rows"),
        (line(7, lambda row: klines()), r"line 7: time 2024-01-01T00:00Z comes after 2024-01-01T05:00Z; times must be in order; sort"),
        (line(7, lambda row: row.replace("\n", ",1\n")), r"line 7: has 13 cells, not 12; is the file truncated\? download it again"),
        (line(7, lambda row: row[:30] + "\n"), r"line 7: has \d cells, not 12; is the file truncated"),
        (line(8, lambda row: row[:30]), r"line 8: has \d cells, not 12; is the file truncated"),
        (line(7, lambda row: "   \n" + row), r"line 7: has 1 cells, not 12"),
        (line(7, lambda row: row.replace(",7,", ',"7,')), r"line 7: a quotation mark opens and does not close; correct the row"),
        (line(7, lambda row: row + "," * 300 + "\n"), r"line 8: has 301 cells, not 12"),
        (cell(7, "open", '"2,000.5"'), r'line 7: open is "2,000\.5", not a number; correct the row or remove it'),
        (cell(7, "volume", '"7,000"'), r'line 7: volume is "7,000", not a number'),
        (cell(7, "open", "2_000.5"), r'line 7: open is "2_000\.5", not a number'),
        (cell(7, "open", "٢٠٠٠"), r'line 7: open is "٢٠٠٠", not a number'),
        (cell(7, "open", "20\x0000"), r'line 7: open is "20\\x0000", not a number'),
        (cell(7, "open", "\x1b[31m2000"), r'line 7: open is "\\x1b\[31m2000", not a number'),
        (cell(7, "open", "x" * 100), r'line 7: open is "x{60}…", not a number'),
        (cell(7, "close", ""), r"line 7: close is nan; a bar needs all four prices"),
        (cell(7, "low", "-1"), r"line 7: low is -1; prices must be above 0 and finite; correct the row"),
        (cell(7, "high", "1"), r"line 7: high 1 is below low 1999; the high must be the highest"),
        (cell(7, "volume", "-7"), r"line 7: volume is -7; it must not be negative; correct the row or remove it"),
        (cell(7, "quote_volume", "-70"), r"line 7: quote_volume is -70; it must not be negative"),
        (cell(7, "count", "-12"), r"line 7: trades is -12; it must not be negative"),
        (cell(7, "taker_buy_volume", "-3"), r"line 7: taker_buy_volume is -3; it must not be negative"),
        (cell(7, "taker_buy_quote_volume", "-3"), r"line 7: taker_buy_quote_volume is -3; it must not be negative"),
        (cell(7, "volume", "inf"), r"line 7: volume is inf; it must be finite"),
        (cell(7, "open", "2é").encode("latin-1"), r"line 7: is not text in UTF-8; convert the file, or download it again"),
    ],
)
def test_a_bad_row_is_named_by_its_line(
    tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes, message: str, block: int
) -> None:
    monkeypatch.setattr(common, "BLOCK", block)
    refused(tmp_path, content, rf"spot_ETHUSDT\.csv {message}")


@pytest.mark.parametrize(
    ("above", "between", "end", "expected"),
    [
        ("", "", "\n", 7),
        ("", "", "\r\n", 7),
        ("", "", "\r", 7),
        ("\n\n", "", "\n", 9),
        ("", "\n\n", "\n", 9),
        ("\n", "\n", "\r\n", 9),
        ("\ufeff", "\n", "\n", 8),
    ],
)
@BLOCKS
def test_blank_lines_and_line_ends_count_as_an_editor_counts_them(
    tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch, above: str, between: str, end: str, expected: int, block: int
) -> None:
    monkeypatch.setattr(common, "BLOCK", block)
    rows = line(5, lambda row: between + row, cell(6, "low", "x"))
    text = f"{above}{NAMES}{rows}".replace("\n", end)
    refused(tmp_path, text, rf'line {expected}: low is "x", not a number')


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", ",\n"),
        lambda text: text.replace("\n", ",,\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\n\n" + text,
        lambda text: text[:-1],
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(":00:00", ":00:00+00:00"),
        lambda text: text.replace(":00:00", ":00:00Z"),
        lambda text: text.replace(" 0", "T0"),
    ],
    ids=["crlf", "cr", "bom", "comma", "commas", "blanks", "blank top", "no end", "semicolons", "tabs", "offset", "zulu", "T"],
)
@BLOCKS
def test_what_only_looks_odd_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], block: int
) -> None:
    monkeypatch.setattr(common, "BLOCK", block)
    bars = import_files("auto", [write(tmp_path, "spot_ETHUSDT.csv", change(TABLE))], tmp_path / "set", Request()).dataset.bars(
        "ETHUSDT-SPOT"
    )
    assert bars.index.tolist() == [JANUARY + pd.Timedelta(hours=hour) for hour in range(1, 7)]
    assert bars.to_numpy().tolist() == [[10, 12, 9, 11]] * 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.replace("2024", "1970"), r"line 2: time is 1970-01-01T01:00Z; times must lie between 2000 and 2100; is its unit right"),
        (TABLE.replace("2024", "2124"), r"line 2: time is 2124-01-01T01:00Z; times must lie between 2000 and 2100"),
        (TABLE.replace("2024", "20250"), r'line 2: Timestamp is "20250-01-01 00:00:00", not a time'),
        (TABLE.replace("2024-01-01 03", "3024-01-01 03"), r'line 5: Timestamp is "3024-01-01 03:00:00", not a time'),
        (TABLE.replace("2024-01-01 03", "57000-01-01 03"), r'line 5: Timestamp is "57000-01-01 03:00:00", not a time'),
        (TABLE.replace("2024-01-01 03:00:00", "2024-13-01 03:00:00"), r'line 5: Timestamp is "2024-13-01 03:00:00", not a time'),
        (TABLE.replace("2024-01-01 03:00:00", "1704078000000"), r'line 5: Timestamp is "1704078000000", not a time'),
        (
            TABLE.replace("03:00:00", "03:00:00+02:00"),
            r'line 5: Timestamp is "2024-01-01 03:00:00\+02:00" and has a zone, while the rows above have none; give one to every row',
        ),
        (
            TABLE.replace(":00:00", ":00:00Z").replace("03:00:00Z", "03:00:00"),
            r'line 5: Timestamp is "2024-01-01 03:00:00" and has no zone, while the rows above have one; give one to every row',
        ),
        (TABLE.replace("Timestamp,Open", "Timestamp,Timestamp"), r'column "Timestamp" stands twice; remove one'),
        (
            line(5, lambda row: row.replace("12", "1" * 200_000), TABLE),
            r"line 5: can't be read \(field larger than field limit",
        ),
        (line(5, lambda row: TABLE[:30] + row, TABLE), r"line 5: repeats the header of the file"),
    ],
)
def test_bad_times_and_cells_of_a_table_that_a_user_wrote(tmp_path: Path, good: Path, content: str, message: str) -> None:
    refused(tmp_path, content, rf"spot_ETHUSDT\.csv:? {message}")


def test_premium_index_klines_of_1970_are_refused(tmp_path: Path, good: Path) -> None:
    refused(
        tmp_path, TABLE.replace("2024", "1970"), r"line 2: time is 1970-01-01T01:00Z; times must lie between", "premium_index_ETHUSDT.csv"
    )


# --- local time ------------------------------------------------------------------------------------------


def test_a_stamp_with_its_zone_is_converted(tmp_path: Path) -> None:
    text = "".join(
        f"2024-03-3{day} {hour}:00:00{zone},10,12,9,11\n"
        for day, hour, zone in [(1, "00", "+01:00"), (1, "01", "+01:00"), (1, "03", "+02:00")]
    )
    file = write(tmp_path, "spot_ETHUSDT.csv", TABLE[:30] + text)
    bars = import_files("auto", [file], tmp_path / "set", Request()).dataset.bars("ETHUSDT-SPOT")
    assert bars.index.tolist() == [pd.Timestamp(f"2024-03-31T0{hour}:00Z") for hour in (0, 1, 2)]


def test_local_time_without_a_zone_needs_a_mapping_that_tells_it(tmp_path: Path, good: Path) -> None:
    """What a mapping says is local stays local over the change of clocks; an hour that is there twice, or never, is refused."""
    rule = (
        'what = "bars"\n[instrument]\nid = "ETHUSDT-SPOT"\nvenue = "binance"\nkind = "spot"\nbase = "ETH"\nquote = "USDT"\n'
        '[time]\ncolumn = "Timestamp"\nstamp = "end"\ntimezone = "Europe/Berlin"\n'
        '[columns]\nopen = "Open"\nhigh = "High"\nlow = "Low"\nclose = "Close"\n'
    )
    mapping = write(tmp_path, "map.toml", rule)
    rows = ["2024-03-31 01:00:00,10,12,9,11\n", "2024-03-31 03:00:00,10,12,9,11\n"]
    file = write(tmp_path, "a.csv", TABLE[:30] + "".join(rows))
    bars = import_files("csv", [file], tmp_path / "set", Request(mapping=mapping)).dataset.bars("ETHUSDT-SPOT")
    assert bars.index.tolist() == [pd.Timestamp("2024-03-31T00:00Z"), pd.Timestamp("2024-03-31T01:00Z")]
    for hour, told in (("2024-03-31 02:30:00", "line 3"), ("2024-10-27 02:30:00", "line 3")):
        file = write(tmp_path, "a.csv", TABLE[:30] + rows[0] + f"{hour},10,12,9,11\n")
        with pytest.raises(DataError, match=rf'a\.csv {told}: Timestamp is "{hour}", not a time \(one that exists once in Europe/Berlin\)'):
            import_files("csv", [file], tmp_path / "none", Request(mapping=mapping))
    assert not (tmp_path / "none").exists()


# --- several files ---------------------------------------------------------------------------------------


def test_one_bad_file_among_good_ones_and_nothing_is_written(tmp_path: Path, good: Path) -> None:
    digest = open_dataset(good).hash
    files = [write(tmp_path, "in/spot_A_ETHUSDT.csv", BULK), write(tmp_path, "in/spot_B_ETHUSDT.csv", cell(8, "low", "-1"))]
    for order in (files, files[::-1]):
        with pytest.raises(DataError, match=r"spot_B_ETHUSDT\.csv line 8: low is -1"):
            import_files("auto", order, good, Request())
    assert open_dataset(good).hash == digest


def test_files_that_contradict_each_other_are_refused(tmp_path: Path, good: Path) -> None:
    files = [write(tmp_path, "in/spot_A_ETHUSDT.csv", BULK), write(tmp_path, "in/spot_B_ETHUSDT.csv", cell(8, "volume", "8"))]
    with pytest.raises(DataError, match=r"ETHUSDT-SPOT bar at 2024-01-01T08:00Z: volume is 7\.0 and 8\.0; one row can't have two values"):
        import_files("auto", files, good, Request())
    assert list(open_dataset(good).instruments) == ["BTCUSDT-PERP"]


def test_a_zip_of_stored_files_is_read_as_one_that_is_compressed(tmp_path: Path) -> None:
    for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)):
        file = write(tmp_path, f"{number}.zip", packed({"spot_ETHUSDT.csv": BULK}, method))
        bars = import_files("auto", [file], tmp_path / str(number), Request()).dataset.bars("ETHUSDT-SPOT")
        assert bars.index[-1] == JANUARY + 8 * pd.Timedelta(HOUR, "ms")
