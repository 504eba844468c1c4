"""`carry venues`: the list, one venue's rules with day, source and sureness, 80 wide, as text and as JSON."""

import json
import re

import pytest

from backtest.cli import venues
from backtest.cli.parser import Parser
from backtest.errors import user_errors
from backtest.venues import venue, venue_names


def carry(*arguments: str) -> int:
    """Run the command on a parser of its own."""
    parser = Parser(prog="carry", allow_abbrev=False)
    venues.add(parser.add_subparsers(parser_class=Parser))
    with user_errors():
        parsed = parser.parse_args(["venues", *arguments])
        code: int = parsed.run(parsed)
        return code
    raise AssertionError


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        carry(*arguments)
    captured = capsys.readouterr()
    assert (left.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    return captured.err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry() == 0
    printed = capsys.readouterr().out
    for name in venue_names():
        assert re.search(rf"^{name} +{len(venue(name).entries)} +20\d\d-\d\d-\d\d +\S", printed, re.MULTILINE)
        assert f"\n{name}: " in printed
    assert "\ncoinbase: fees, hours\n" in printed


def test_one_venue_on_a_day(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry("binance", "--at", "2024-10-01") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Binance, rules of 2024-10-01\n\nfees (spot): maker 10 bps, taker 10 bps\n  from 2021-06-24; note: ")
    assert "\nfees (perpetual future linear): maker 2 bps, taker 5 bps\n  from 2024-01-01; note: " in printed
    assert (
        "\nmargin (ETH perpetual linear): maintenance 0.4% to 50,000, 0.5% to 600,000,\n  0.65% to 3,000,000, 1% to 12,000,000 and 8 more\n"
        in printed
    )
    assert "window minutes 60" in printed
    assert "from 2024-12-27, ASSUMED on 2024-10-01; data: exchangeInfo" in printed
    assert "4 bps" not in printed.replace("from 4\n  bps", ""), "the rule before it is not printed"


def test_another_day_has_other_rules(capsys: pytest.CaptureFixture[str]) -> None:
    carry("binance", "--at", "2021-01-01")
    before = capsys.readouterr().out
    assert "maker 2 bps, taker 4 bps\n  from 2021-06-30, ASSUMED on 2021-01-01; note: " in before
    assert "funding_cap (ETH perpetual linear): cap 37.5 bps\n" in before
    carry("hyperliquid", "--at", "2023-07-01")
    assert capsys.readouterr().out.endswith("\nnot known on that day: margin, funding, funding_cap\n")


@pytest.mark.parametrize("name", venue_names())
@pytest.mark.parametrize("day", ["2015-01-01", "2021-06-01", "2024-10-01", "2026-11-01"])
def test_nothing_is_wider_than_eighty(name: str, day: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert carry(name, "--at", day) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line != line.rstrip() for line in lines)


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry("hyperliquid", "--at", "2025-06-01T12:00+00:00", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["venue"], document["title"], document["at"]) == ("hyperliquid", "Hyperliquid", "2025-06-01")
    margin = next(rule for rule in document["rules"] if rule["table"] == "margin" and rule["bases"] == ["ETH"])
    assert margin["values"]["tiers"] == [[100_000_000, 0.02], [None, 1 / 30]]
    assert (margin["from"], margin["assumed"], margin["sure"], margin["products"], margin["settle"]) == (
        "2025-03-12",
        False,
        "doc",
        ["perpetual"],
        None,
    )
    assert carry("cme", "--at", "2026-01-01", "--json") == 0
    hours = next(rule for rule in json.loads(capsys.readouterr().out)["rules"] if rule["table"] == "hours")
    assert hours["values"]["also_open"] == ["2023-04-07", "2025-01-09"]
    assert carry("--json") == 0
    books = json.loads(capsys.readouterr().out)
    assert [row["venue"] for row in books] == list(venue_names())


def test_today_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry("coinbase") == 0
    assert re.match(r"^Coinbase Exchange, rules of 20\d\d-\d\d-\d\d\n", capsys.readouterr().out)


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert 'error: no rule-book for venue "binanse": ' in fails(capsys, "binanse")
    assert 'did you mean "binance"?\n' in fails(capsys, "binanse")
    assert fails(capsys, "okx", "--at", "soonish") == 'error: --at must be a time like 2024-01-31 or 2024-01-31T08:00: --at="soonish"\n'
