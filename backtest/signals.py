"""Signals: pure functions of (market, legs, parameters), known at each bar's end, computed once and shared.

A signal over a chain is a table [contract, bar], over a spot or perpetual one row. Values are fractions per year unless said otherwise.

    signal = bt.net_carry(market, future)          # what a new trade would earn a year, costs included
    stay = bt.stay_carry(market, future)           # what the rest of a trade earns, its costs being sunk
"""

import numpy as np

from backtest.curve import annualized_premium, days_to_expiry, spot_leg
from backtest.errors import DataError, ParameterError
from backtest.instruments import Kind
from backtest.market import DAY, Floats, Market, frozen
from backtest.rule import Duration, Leg, duration
from backtest.venues import rules_of

HALF_SPREAD = 0.0001  # 1 bp a fill where nothing better is known


def financing_rate(market: Market) -> Floats:
    """What money costs a year, as known at each bar's end: the dataset's `borrow_usd`, else its `risk_free`, else 0. [bar]"""
    for name in ("borrow_usd", "risk_free"):
        if name in market.series_names:
            return market.memo(("financing_rate", name), lambda name=name: frozen(np.nan_to_num(market.series(name))))
    return market.memo(("financing_rate", None), lambda: frozen(np.zeros(len(market))))


def round_trip_cost(market: Market, future: Leg, spot: Leg | None = None) -> float:
    """Cost of entering, holding to settlement and selling the spot, as a fraction of notional: by the venue's rules at the first bar.

    Two spot fees, one futures fee, the delivery fee and three half-spreads of 1 bp. DataError where a venue's rule-book lacks one of them.
    """
    spot_rules = rules_of(market.instruments[spot_leg(market, spot).contracts[0]], market.clock[0])
    rules = rules_of(market.instruments[future.contracts[0]], market.clock[0])
    try:
        return 2.0 * spot_rules.spot_fee + rules.derivative_fee + rules.delivery_fee + 3.0 * HALF_SPREAD
    except DataError as error:
        raise DataError(f"{error}, and to net_carry the cost of a round trip (--cost)") from None


def net_carry(market: Market, future: Leg, spot: Leg | None = None, *, cost: float | None = None) -> Floats:
    """Net carry to enter: annualized premium − financing − the round trip's cost spread over the days left. [contract, bar]

    cost: fraction of notional (default: `round_trip_cost`). NaN as the annualized premium (no fresh close, D below one day).
    """
    spent = round_trip_cost(market, future, spot) if cost is None else cost
    against = spot_leg(market, spot)

    def build() -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = spent * 365.0 / days_to_expiry(market, future)
        return frozen(stay_carry(market, future, against) - spread)

    return market.memo(("net_carry", future.contracts, against.contracts, spent), build)


def stay_carry(market: Market, future: Leg, spot: Leg | None = None) -> Floats:
    """Net carry to stay: annualized premium − financing, nothing sunk in it; the exit signal of dated carry. [contract, bar]"""
    against = spot_leg(market, spot)
    return market.memo(
        ("stay_carry", future.contracts, against.contracts),
        lambda: frozen(annualized_premium(market, future, against) - financing_rate(market)),
    )


def annualized_funding(market: Market, perpetual: Leg | None = None, window: Duration = "7D") -> Floats:
    """Funding rates paid in the trailing window, summed and scaled to a year (simple, 365 days). [1, bar]

    Counts the events with T − window < τ ≤ T. NaN until the window reaches back to the first event known, and where an event inside it is missing.
    """
    leg = market.perpetual if perpetual is None else perpetual
    if leg.kind is not Kind.PERPETUAL:
        raise ParameterError(f"only a perpetual has funding: {leg}")
    span = duration("window", window)
    if span is None:
        raise ParameterError('window must be a duration like "7D": window=None')

    def build() -> Floats:
        events, missing = market.funding(leg.contracts[0]), market.missing_funding(leg.contracts[0], whole=True)
        if len(events.times) == 0:
            raise DataError(f"{leg}: the dataset {market.info.name} has no funding; import it")
        total = np.concatenate([[0.0], np.cumsum(events.rates)])
        begin = market.stamps - span
        paid = total[np.searchsorted(events.times, market.stamps, "right")] - total[np.searchsorted(events.times, begin, "right")]
        gaps = np.searchsorted(missing, market.stamps, "right") - np.searchsorted(missing, begin, "right")
        first = events.times[0] - int(events.hours[0] * DAY / 24)
        return frozen(np.where((begin >= first) & (gaps == 0), paid * (365 * DAY / span), np.nan)[None, :])

    return market.memo(("annualized_funding", leg.contracts, span), build)
