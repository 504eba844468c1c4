"""A venue's API through ccxt: its markets as instruments, and pages of klines, prices, funding and open interest as frames.

ccxt knows addresses, parameters and limits of rate of each venue; here stand what it leaves out: patience with a failing server, one wording of
errors, bars stamped with their end, and the columns of Binance's klines that its unified form drops.

    exchange = connect(VENUES["binance"], Patience())
    page = exchange.bars("klines", market, "1h", (start, end))
"""

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from backtest.data.download.http import BUSY, DownloadError, Patience, TryAgain, retry_after
from backtest.data.download.spans import Span
from backtest.data.download.wanted import BARS, Venue
from backtest.data.importers.naming import instrument_id
from backtest.data.schema import PRICES
from backtest.errors import ParameterError
from backtest.instruments import Instrument, Kind, Settle

API_URL = "CARRY_API_URL"  # where the venues' hosts are looked for in place of the internet: a mirror, a proxy, a test

_PRICE = {"klines": None, "mark": "mark", "index": "index", "premium": "premiumIndex"}
_WHOLE_KLINE = ("volume", "close_time", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_HALF_SECOND, _TWO_MINUTES = 500, 120_000

T = TypeVar("T")


class Market(NamedTuple):
    """An instrument, and the venue's market as ccxt describes it."""

    instrument: Instrument
    facts: Mapping[str, Any]


def connect(venue: Venue, patience: Patience) -> "Exchange":
    """The client of a venue; raises `ParameterError` where ccxt is not installed."""
    try:
        import ccxt
    except ImportError:
        raise ParameterError(
            'downloading through an API needs ccxt; pip install "carry-backtest[download]", or for binance use "--via archive"'
        ) from None
    make = getattr(ccxt, venue.ccxt)
    # options and the markets that others deploy on Hyperliquid are none of ours and cost a request each
    options = {"fetchMarkets": {"types": ["spot", "swap"] if venue.name == "hyperliquid" else ["spot", "linear", "inverse"]}}
    settings = {"enableRateLimit": True, "requests_trust_env": True, "options": options}
    client = (_whole_klines(make) if venue.name == "binance" else make)(settings)
    if mirror := os.environ.get(API_URL):
        client.urls["api"] = _redirected(client.urls["api"], mirror.rstrip("/"))
    return Exchange(venue, client, patience, ccxt)


def _whole_klines(make: type) -> type:
    """Binance's client with all numbers of a kline; the unified form ends with the volume."""

    class Whole(make):
        def parse_ohlcv(self, ohlcv: Sequence[Any], market: object = None) -> list[Any]:
            return [int(ohlcv[0]), *map(float, ohlcv[1:11])]

    return Whole


def _redirected(urls: Any, mirror: str) -> Any:
    """Addresses below the mirror's, with their host as the first folder."""
    if isinstance(urls, dict):
        return {name: _redirected(url, mirror) for name, url in urls.items()}
    return f"{mirror}/{urls.partition('://')[2]}" if isinstance(urls, str) else urls


class Exchange:
    """A venue's API. Every request is repeated while that may help; what does not raises `DownloadError`."""

    def __init__(self, venue: Venue, client: Any, patience: Patience, ccxt: ModuleType) -> None:
        self.venue, self._client, self._patience, self._ccxt = venue, client, patience, ccxt
        self._status: int | None = None
        self._wait: str | None = None
        client.session.hooks["response"].append(self._note)

    def refuse_bar(self, bar: str) -> None:
        """Raise `ParameterError` for a length of bars that the venue does not have."""
        known = [each for each in BARS if each in self._client.timeframes]
        if bar not in known:
            raise ParameterError(f'{self.venue.name} has no bars of "{bar}"; there are {", ".join(known)}')

    def markets(self, symbol: str, futures: bool) -> list[Market]:
        """What a symbol means here, spot before perpetual before dated; raises `ParameterError` with the nearest name for one unknown."""
        loaded = self._ask("markets", self._client.load_markets)
        every = [Market(self._instrument(facts), facts) for facts in loaded.values() if _is_single(facts)]
        asked = symbol.upper()
        kinds = (Kind.SPOT, Kind.PERPETUAL, Kind.FUTURE) if futures else (Kind.SPOT, Kind.PERPETUAL)
        found = [one for one in every if _pair(one) == asked and one.instrument.kind in kinds]
        found = found or [one for one in every if asked in _names(one, self.venue)]
        if not found:
            names = {one.instrument.id for one in every} if "-" in asked else {_pair(one) for one in every}
            near = get_close_matches(asked, sorted(names), n=1)
            hint = f'did you mean "{near[0]}"?' if near else "name a pair, such as ETHUSDT, or an instrument, such as ETHUSDT-PERP"
            raise ParameterError(f'{self.venue.name} has no "{symbol}"; {hint}')
        once = {one.instrument.id: one for one in reversed(found)}  # of two contracts of one name, the first that the venue lists
        return sorted(once.values(), key=lambda one: (list(Kind).index(one.instrument.kind), one.instrument.id))

    def bars(self, what: str, market: Market, bar: str, window: Span) -> pd.DataFrame:
        """One page of bars within a window (begun at its first instant or later, ended at its last or before), stamped with their end."""
        price = _PRICE[what]
        params = {"until": _ms(window[1]) - 1, **({"price": price} if price else {})}
        rows = self._ask(
            f"{what} of {market.instrument.id}",
            lambda: self._client.fetch_ohlcv(market.facts["symbol"], bar, _ms(window[0]), self.venue.rows[what], params),
        )
        whole = self.venue.name == "binance" and price is None
        frame = _framed(rows, (*PRICES, *_WHOLE_KLINE) if whole else (*PRICES, "volume"), pd.Timedelta(BARS[bar], "min"), window)
        if whole and market.instrument.settle is Settle.INVERSE:
            # counted in contracts, then in coins
            frame = frame[[*PRICES, "quote_volume", "trades", "taker_buy_quote_volume"]]
            return frame.rename(columns={"quote_volume": "volume", "taker_buy_quote_volume": "taker_buy_volume"})
        return frame

    def funding(self, market: Market, window: Span) -> pd.DataFrame:
        """One page of funding events within a window: rate, mark_price, and the premium where the venue tells it."""
        limit = self.venue.rows["funding"]
        what = f"funding of {market.instrument.id}"
        # stamped some milliseconds off, or where every hour has its event up to two minutes, and rounded here
        grid, late = ("s", _HALF_SECOND) if self.venue.interval is None else ("h", _TWO_MINUTES)
        since, params = _ms(window[0]) - _HALF_SECOND, {"until": _ms(window[1]) + late}
        rows = self._ask(what, lambda: self._client.fetch_funding_rate_history(market.facts["symbol"], since, limit, params))
        told = [row.get("info") or {} for row in rows]
        # Deribit pays continuously: what was paid in the hour, and not the rate of eight hours that stands beside it
        rates = [facts.get("interest_1h", row["fundingRate"]) for row, facts in zip(rows, told, strict=True)]
        columns = {"rate": _numbers(rates), "mark_price": _numbers([facts.get("markPrice", facts.get("index_price")) for facts in told])}
        for ours, theirs in (("premium", "premium"), ("oracle_price", "index_price")):
            if any(theirs in facts for facts in told):
                columns[ours] = _numbers([facts.get(theirs) for facts in told])
        index = _times([row["timestamp"] for row in rows]).round(grid).rename("ts")
        frame = pd.DataFrame(columns, index=index).sort_index()
        frame = frame[~frame.index.duplicated()]
        return frame[(frame.index >= window[0]) & (frame.index <= window[1])]

    def open_interest(self, market: Market, bar: str, window: Span) -> pd.DataFrame:
        """One page of open interest, as `close`, at instants after a window's first and up to its last: in base units, or as the venue counts inverse ones."""
        limit, what = self.venue.rows["open_interest"], f"open interest of {market.instrument.id}"
        since, params = _ms(window[0] + pd.Timedelta(BARS[bar], "min")), {"until": _ms(window[1])}
        rows = self._ask(what, lambda: self._client.fetch_open_interest_history(market.facts["symbol"], bar, since, limit, params))
        amounts = [row["openInterestValue"] if row["openInterestAmount"] is None else row["openInterestAmount"] for row in rows]
        frame = pd.DataFrame({"close": _numbers(amounts)}, index=_times([row["timestamp"] for row in rows]).rename("ts")).sort_index()
        frame = frame[~frame.index.duplicated()]
        return frame[(frame.index > window[0]) & (frame.index <= window[1])]

    def _ask(self, what: str, method: Callable[[], T]) -> T:
        what = f"{self.venue.name}: {what}"

        def attempt() -> T:
            self._status = self._wait = None
            try:
                return method()
            except self._ccxt.BaseError as error:
                raise self._judged(what, error) from error
            except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
                raise DownloadError(
                    f"{what}: the answer is not what the venue's API gives ({_short(error)}); is a proxy in between?"
                ) from error

        return self._patience.keep_asking(what, attempt)

    def _judged(self, what: str, error: Exception) -> Exception:
        """What follows from an answer: another try, or the end."""
        status, ccxt = self._status, self._ccxt
        if status in BUSY or isinstance(error, ccxt.DDoSProtection):
            return TryAgain(f"the server is busy (HTTP {status})", retry_after(self._wait))
        if status is None or status < 400:
            if isinstance(error, ccxt.NetworkError):
                return TryAgain("the connection was cut or could not be made")
        elif status >= 500:
            return TryAgain(f"the server failed (HTTP {status})", retry_after(self._wait))
        code = f"HTTP {status}, " if status and status >= 400 else ""
        return DownloadError(
            f"{what}: the venue refused ({code}{_short(error)}); check symbol and dates, and whether it serves your country"
        )

    def _note(self, response: Any, *_: Any, **__: Any) -> None:
        self._status, self._wait = response.status_code, response.headers.get("Retry-After")

    def _instrument(self, facts: Mapping[str, Any]) -> Instrument:
        kind = {"spot": Kind.SPOT, "swap": Kind.PERPETUAL, "future": Kind.FUTURE}[facts["type"]]
        quote = self.venue.quote if self.venue.quote and kind is not Kind.SPOT else facts["quote"]
        expiry = _time(facts.get("expiry")) if kind is Kind.FUTURE else None
        inverse = bool(facts.get("inverse"))
        # quantities of Deribit's linear contracts are in coins, whatever it calls a contract
        size = float(facts.get("contractSize") or 1.0) if inverse or self.venue.name != "deribit" else 1.0
        cost = (facts["limits"].get("cost") or {}).get("min")
        lot = facts["precision"].get("amount")
        return Instrument(
            id=instrument_id(self.venue.name, kind, facts["base"] + quote, f"{expiry:%y%m%d}" if expiry else None),
            venue=self.venue.name,
            kind=kind,
            base=facts["base"],
            quote=quote,
            settle=Settle.INVERSE if inverse else Settle.LINEAR,
            multiplier=size,
            tick=_number(facts["precision"].get("price")),
            lot=None if lot is None or inverse else float(lot) * size,
            min_notional=None if inverse else _number(cost),
            listed_at=_time(facts.get("created")),
            expires_at=expiry,
        )


def _is_single(facts: Mapping[str, Any]) -> bool:
    """Whether a market is a spot, a perpetual or a dated future, and not an option or a combination of several."""
    plain = facts.get("type") == "spot" or bool(facts.get("linear")) or bool(facts.get("inverse"))
    return plain and facts.get("type") in ("spot", "swap", "future")


def _pair(one: Market) -> str:
    return f"{one.instrument.base}{one.instrument.quote}".upper()


def _names(one: Market, venue: Venue) -> tuple[str, ...]:
    ours = one.instrument.id.upper()
    return (ours, ours.removesuffix(f".{venue.name.upper()}"), str(one.facts["id"]).upper(), str(one.facts["symbol"]).upper())


def _framed(rows: Sequence[Sequence[Any]], named: Sequence[str], step: pd.Timedelta, window: Span) -> pd.DataFrame:
    """Rows that begin with their start in milliseconds as columns, those inside the window, each once."""
    columns = {name: _numbers([row[place] for row in rows]) for place, name in enumerate(named, start=1) if name != "close_time"}
    frame = pd.DataFrame(columns, index=(_times([row[0] for row in rows]) + step).rename("ts")).sort_index()
    frame = frame[~frame.index.duplicated()]
    return frame[(frame.index >= window[0] + step) & (frame.index <= window[1])]


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([np.nan if value is None or value == "" else float(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _times(milliseconds: Sequence[Any]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.array([int(value) for value in milliseconds], dtype="datetime64[ms]").astype("datetime64[ns]"), tz="UTC")


def _time(milliseconds: Any) -> pd.Timestamp | None:
    return None if milliseconds is None else pd.Timestamp(int(milliseconds), unit="ms", tz="UTC").as_unit("ns")


def _ms(time: pd.Timestamp) -> int:
    return int(time.as_unit("ns").value // 1_000_000)


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
