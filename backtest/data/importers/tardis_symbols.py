"""Which instrument a symbol of Tardis stands for: it keeps each exchange's own symbols, beside its own name for the exchange.

instrument("binance-futures", "ETHUSDT_240329").id      # ETHUSDT-240329
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from backtest.data.importers.naming import CURRENCIES, delivery, instrument_id, inverse_value, linear_size, yymmdd
from backtest.errors import DataError, did_you_mean
from backtest.instruments import Instrument, Kind, Settle

_QUOTED = r"(?P<base>[A-Z0-9]+?)(?P<quote>USDT|USDC|FDUSD|BUSD|USD)"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How symbols of one kind read. unit: what an amount of 1 is: None base units, else so much of the quote currency; NaN is not known."""

    pattern: str
    kind: Kind
    settle: Settle = Settle.LINEAR
    unit: float | None = None


_PERPETUAL = Rule(pattern=_QUOTED, kind=Kind.PERPETUAL)
_SPOT = Rule(pattern=_QUOTED, kind=Kind.SPOT)
_DASHED_SPOT = Rule(pattern=r"(?P<base>[A-Z0-9]+)-(?P<quote>USDT?|USDC)", kind=Kind.SPOT)


def _inverse(pattern: str, unit: float = 1.0) -> Rule:
    kind = Kind.FUTURE if "<date>" in pattern else Kind.PERPETUAL
    return Rule(pattern=pattern, kind=kind, settle=Settle.INVERSE, unit=unit)


# Tardis' name of an exchange → the venue and how its symbols read; of amounts in contracts only the worth in quote currency counts
EXCHANGES: dict[str, tuple[str, tuple[Rule, ...]]] = {
    "binance": ("binance", (_SPOT,)),
    "binance-futures": ("binance", (_PERPETUAL, Rule(pattern=_QUOTED + r"_(?P<date>\d{6})", kind=Kind.FUTURE))),
    "binance-delivery": (
        "binance",
        (
            _inverse("(?P<base>BTC)(?P<quote>USD)_PERP", 100),
            _inverse(r"(?P<base>BTC)(?P<quote>USD)_(?P<date>\d{6})", 100),
            _inverse("(?P<base>[A-Z0-9]+?)(?P<quote>USD)_PERP", 10),
            _inverse(r"(?P<base>[A-Z0-9]+?)(?P<quote>USD)_(?P<date>\d{6})", 10),
        ),
    ),
    "bitmex": ("bitmex", (_inverse("(?P<base>XBT)(?P<quote>USD)"),)),
    "bybit": ("bybit", (_inverse("(?P<base>[A-Z0-9]+?)(?P<quote>USD)"), Rule(pattern=_QUOTED, kind=Kind.PERPETUAL))),
    "bybit-spot": ("bybit", (_SPOT,)),
    "coinbase": ("coinbase", (_DASHED_SPOT,)),
    "cryptofacilities": (
        "kraken",
        (_inverse("PI_(?P<base>[A-Z0-9]+)(?P<quote>USD)"), Rule(pattern="PF_(?P<base>[A-Z0-9]+)(?P<quote>USD)", kind=Kind.PERPETUAL)),
    ),
    "deribit": (
        "deribit",
        (_inverse("(?P<base>BTC|ETH)-PERPETUAL"), _inverse(r"(?P<base>BTC|ETH)-(?P<date>\d\d?[A-Z]{3}\d\d)")),
    ),
    "dydx": ("dydx", (Rule(pattern="(?P<base>[A-Z0-9]+)-(?P<quote>USD)", kind=Kind.PERPETUAL),)),
    "hyperliquid": ("hyperliquid", (Rule(pattern="(?P<base>[A-Z0-9]+)", kind=Kind.PERPETUAL),)),
    "okex-swap": (
        "okx",
        (
            Rule(pattern="(?P<base>[A-Z0-9]+)-(?P<quote>USDT|USDC)-SWAP", kind=Kind.PERPETUAL, unit=float("nan")),
            _inverse("(?P<base>BTC)-(?P<quote>USD)-SWAP", 100),
            _inverse("(?P<base>[A-Z0-9]+)-(?P<quote>USD)-SWAP", 10),
        ),
    ),
}


def instrument(exchange: str, symbol: str) -> tuple[Instrument, float | None]:
    """The instrument and the unit of its amounts, see `Rule`; raises `DataError` for an exchange or a symbol that isn't known."""
    if exchange not in EXCHANGES:
        raise DataError(f'exchange "{exchange}" is not known; {did_you_mean(exchange, list(EXCHANGES))}; leave the rows out')
    venue, rules = EXCHANGES[exchange]
    for rule in rules:
        if found := re.fullmatch(rule.pattern, symbol):
            told = found.groupdict()
            expires_at = _expiry(told.get("date"))
            one = _made(venue, rule.kind, rule.settle, told["base"], told.get("quote") or "USD", expires_at)
            return _named(one, symbol), rule.unit
    raise DataError(f'symbol "{symbol}" of {exchange} is not one that can be told; leave the rows out, or use a mapping')


def described(content: Mapping[str, Any]) -> Instrument:
    """An instrument as Tardis' own description of it says; raises `DataError` for a kind or an exchange that isn't known."""
    name = f"{content.get('exchange')} {content.get('id')}"
    try:
        kind = {"spot": Kind.SPOT, "perpetual": Kind.PERPETUAL, "future": Kind.FUTURE}[content["type"]]
        venue = EXCHANGES[content["exchange"]][0]
        expires_at = pd.Timestamp(content["expiry"]).tz_convert("UTC").as_unit("ns") if content.get("expiry") else None
        settle = Settle.INVERSE if content.get("inverse") else Settle.LINEAR
        one = _made(venue, kind, settle, content["baseCurrency"], content["quoteCurrency"], expires_at)
        tick, step = float(content["priceIncrement"]), float(content["amountIncrement"]) * float(content.get("contractMultiplier") or 1)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: is not described as an instrument that can be traded here ({error!r}); leave it out") from error
    return replace(_named(one, str(content["id"])), tick=tick, lot=step / one.multiplier if one.settle is Settle.INVERSE else step)


def _made(venue: str, kind: Kind, settle: Settle, base: str, quote: str, expires_at: pd.Timestamp | None) -> Instrument:
    base = CURRENCIES.get(base, base)
    return Instrument(
        id=instrument_id(venue, kind, base + quote, f"{expires_at:%y%m%d}" if expires_at else None),
        venue=venue,
        kind=kind,
        base=base,
        quote=quote,
        settle=settle,
        multiplier=inverse_value(venue, base) if settle is Settle.INVERSE else linear_size(venue, base, quote),
        expires_at=expires_at,
    )


def _named(one: Instrument, symbol: str) -> Instrument:
    """Kraken's inverse PI_ETHUSD is of the same pair as the linear PF_ETHUSD; it keeps its letters, as in the importer of Kraken's own files."""
    return replace(one, id=f"PI_{one.id}") if symbol.startswith("PI_") else one


def _expiry(date: str | None) -> pd.Timestamp | None:
    """The date in a symbol, 08:00 UTC as on all exchanges whose symbols have one."""
    if date is None:
        return None
    expires_at = delivery(date if date.isdigit() else yymmdd(date))
    if expires_at is None:
        raise DataError(f'"{date}" in a symbol is not a date; correct the row or remove it')
    return expires_at
