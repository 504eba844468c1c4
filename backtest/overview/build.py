"""Builds the overview of one bar: which bar and legs, the table of contracts, the readings, and the notes on what is missing.

view = overview(market, "2022-11-10", weighting="open_interest")
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from backtest.currency import mixed_quotes
from backtest.curve.activity import open_interest, traded_volume
from backtest.curve.basket import basket_weights
from backtest.curve.prices import annualized_premium, contango, days_to_expiry, expiries, premium
from backtest.errors import DataError
from backtest.instruments import Kind
from backtest.market import DAY, Floats, Market, nanoseconds, utc
from backtest.overview.begun import begun, market_by
from backtest.overview.readings import answers
from backtest.overview.scope import BEFORE, Scope
from backtest.overview.view import Overview, Reading, Unit
from backtest.rule import instant, number
from backtest.signals.carry import break_even_premium, net_carry

CONTANGO = {1.0: "contango", -1.0: "backwardation", 0.0: "at spot"}


def overview(
    market: Market,
    at: str | pd.Timestamp | None = None,
    *,
    weighting: str | Floats = "equal",
    roll_days: float = 7.0,
    cost: float | None = None,
) -> Overview:
    """The view of the premium at a time: every contract, the indicator, carry after costs, crowding, liquidity, regime, and what they were 1, 7 and 30 days before.

    at: its bar is the last one stamped then or earlier (default: the last bar); nothing later has a part in it.
    weighting, roll_days: of the basket, as in `premium_indicator`. cost: of the round trip, a fraction of notional (default: `round_trip_cost`).
    The legs are the market's only spot, its perpetual and its dated futures, of what has had a bar by then; what they lack is a note. Raises DataError where there is no
    spot, several, or several perpetuals or products of futures, or neither of these, or where `at` is before the first bar; ParameterError for a parameter outside its rule.
    """
    bar = _bar(market, at)
    number("cost", cost, least=0.0)
    there, market = begun(market, bar), market_by(market, bar)
    kinds = {one.kind for one in there}
    if not kinds & {Kind.FUTURE, Kind.PERPETUAL}:
        raise DataError(
            f"a premium needs a perpetual or dated futures beside the spot; {market.info.name} has {', '.join(one.id for one in there)}"
        )
    scope = Scope(
        market=market,
        bar=bar,
        spot=market.spot,
        future=market.future_chain() if Kind.FUTURE in kinds else None,
        perpetual=market.perpetual if Kind.PERPETUAL in kinds else None,
        weighting=weighting,
        roll_days=roll_days,
        cost=cost,
    )
    for leg in (scope.future, scope.perpetual):  # legs that don't fit together are no gap in the view, but its end
        if leg is not None:
            premium(market, leg, scope.spot)
    if scope.future is not None:  # nor is a weighting that was asked for and can't be had
        basket_weights(market, scope.future, weighting=weighting, roll_days=roll_days)
    contracts, lacking = _contracts(scope)
    readings, refusals = answers(scope)
    for reason, columns in lacking.items():
        refusals[reason] = [*columns, *refusals.get(reason, [])]
    return Overview(
        **vars(scope),
        contracts=contracts,
        readings=(*readings, *_dates(scope)),
        notes=tuple(_notes(scope, at, readings, refusals)),
    )


def _bar(market: Market, at: str | pd.Timestamp | None) -> int:
    time = instant("at", at)
    if time is None:
        return len(market) - 1
    bar = int(np.searchsorted(market.stamps, time.value, side="right")) - 1
    if bar < 0:
        raise DataError(
            f"at={utc(time.value)} is before the first bar of {market.info.name}, which ends at {utc(market.stamps[0])}; choose a later time"
        )
    return bar


def _alive(scope: Scope) -> list[int]:
    """Which contracts have had a bar and have not expired."""
    chain, market = scope.chain, scope.market
    left = expiries(market, chain) - market.stamps[scope.bar]
    return [row for row, name in enumerate(chain.contracts) if left[row] > 0 and market.first_bar(name) <= scope.bar]


def _contracts(scope: Scope) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The table of contracts, and which of its columns are refused for which reason."""
    market, future, spot = scope.market, scope.future, scope.spot
    rows = _alive(scope) if future is not None else []
    names = [scope.chain.contracts[row] for row in rows]
    table, refusals = pd.DataFrame(index=pd.Index(names, name="contract", dtype=object)), dict[str, list[str]]()
    now, *before = scope.places()

    def fill(column: str, place: int, values: Callable[[], Floats]) -> None:
        try:
            table[column] = values()[rows, place] if future is not None and place >= 0 else np.full(len(rows), np.nan)
        except DataError as error:
            table[column] = np.nan
            refusals.setdefault(str(error), []).append(f"{column.replace('_', ' ')} of each contract")

    fill("days", now, lambda: days_to_expiry(market, scope.chain))
    fill("premium", now, lambda: premium(market, scope.chain, spot))
    fill("annualized", now, lambda: annualized_premium(market, scope.chain, spot))
    for days, place in zip(BEFORE, before, strict=True):
        fill(f"annualized_{days}d", place, lambda: annualized_premium(market, scope.chain, spot))
    fill("net_carry", now, lambda: net_carry(market, scope.chain, spot, cost=scope.cost))
    fill("break_even_premium", now, lambda: break_even_premium(market, scope.chain, spot, cost=scope.cost))
    fill("weight", now, lambda: basket_weights(market, scope.chain, weighting=scope.weighting, roll_days=scope.roll_days))
    fill("volume", now, lambda: traded_volume(market, scope.chain))
    fill("open_interest", now, lambda: open_interest(market, scope.chain))
    fill("contango", now, lambda: contango(market, scope.chain, spot))
    table["contango"] = [CONTANGO.get(value, "") for value in table["contango"]]
    return table, refusals


def _dates(scope: Scope) -> Iterator[Reading]:
    """What lies ahead and behind: the next expiry, the next event that was announced by then, and the last one."""
    market, now = scope.market, scope.market.stamps[scope.bar]
    if scope.future is not None and (alive := _alive(scope)):
        left = expiries(market, scope.future)[alive] - now
        name = scope.future.contracts[alive[int(left.argmin())]]
        yield _days("next_expiry", "days to the next expiry", left.min(), name)
    events = market.events
    times, announced = (nanoseconds(pd.DatetimeIndex(events[column])) for column in ("ts", "known_at"))
    coming, past = np.flatnonzero((times > now) & (announced <= now)), np.flatnonzero((times <= now) & (announced <= now))
    if len(coming):
        first = coming[times[coming].argmin()]
        yield _days("next_event", "days to the next event", times[first] - now, str(events["name"].iloc[first]))
    if len(past):
        last = past[times[past].argmax()]
        yield _days("last_event", "days since the last event", now - times[last], str(events["name"].iloc[last]))


def _days(name: str, label: str, distance: int, word: str) -> Reading:
    return Reading(name, label, Unit.DAYS, float(distance / DAY), word=word)


def _notes(scope: Scope, at: str | pd.Timestamp | None, readings: Iterable[Reading], refusals: dict[str, list[str]]) -> Iterator[str]:
    """What isn't shown and why, what isn't known at this bar, and what the market says of itself."""
    market, time = scope.market, instant("at", at)
    if time is not None and time.value - market.stamps[scope.bar] > market.step:
        yield f"The last bar before {utc(time.value)} ended at {utc(market.stamps[scope.bar])}; the view is of that time."
    yield from (f"No {', '.join(labels)}: {reason}." for reason, labels in refusals.items())
    refused = {label for labels in refusals.values() for label in labels}
    unknown = [reading.label for reading in readings if not reading.known and reading.label not in refused]
    if unknown:
        yield f"Not known at this time: {', '.join(unknown)}."
    legs = [leg for leg in (scope.spot, scope.perpetual, scope.future) if leg is not None]
    yield from mixed_quotes(market.instruments[name] for leg in legs for name in leg.contracts)
    if scope.bar == len(market) - 1:
        yield from market.notes
    else:
        yield "The market was loaded beyond this time, so its own notes are left out; load it with end=… to read them."
