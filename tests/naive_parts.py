"""What the judge (`naive.py`) is made of: the market and the rule as plain data, the sums it needs, and what it returns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
YEAR = 365 * DAY
NAN = math.nan

SOURCES = (
    "price_long",
    "price_short",
    "legging",
    "funding",
    "financing",
    "idle_cash",
    "borrow",
    "staking",
    "fees",
    "slippage",
    "settlement",
    "liquidation",
)

Pair = tuple[int, int]
Signal = Mapping[Pair, Sequence[float]]
Tier = tuple[float, float, float]
Series = Sequence[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class NaiveInstrument:
    """One instrument over the bars of the clock; NaN is "not known" everywhere, and so is a sequence that is left out.

    `close` is the last known one, `fresh` says whether it may still be used, `mark_high` and `mark_low` are the extremes that margin is
    judged by, `bid` and `ask` the quote at the bar's end, `mark` the mark at the bar's end. `funding` holds (time, rate, own mark or NaN).
    `high` and `low` are those of trades, `volume` is in base units, `depth` in quote units at the bar's end, `index` the price that funding
    is paid on where `notional` is "index". `interval` is the time between payments, `contract` the face of one inverse contract.
    """

    kind: str
    open: Sequence[float]
    close: Sequence[float]
    fresh: Sequence[bool]
    mark_high: Sequence[float]
    mark_low: Sequence[float]
    bid: Sequence[float]
    ask: Sequence[float]
    mark: Sequence[float]
    funding: Sequence[tuple[int, float, float]] = ()
    expiry: int | None = None
    settlement: float = NAN
    lot: float = NAN
    min_notional: float = NAN
    high: Sequence[float] = ()
    low: Sequence[float] = ()
    volume: Sequence[float] = ()
    depth: Sequence[float] = ()
    index: Sequence[float] = ()
    notional: str = "mark"
    interval: int = 8 * HOUR
    inverse: bool = False
    contract: float = 1.0


@dataclass(frozen=True, kw_only=True)
class NaiveMarket:
    """Stamps and bar length in nanoseconds UTC, and the rates as (known_at, value) in time order, fractions a year.

    `stress` and `borrow_available` are as known at each bar's end, `coin_open` and `coin_close` (last known) the price of the coin that
    inverse contracts pay in.
    """

    stamps: Sequence[int]
    step: int
    idle_rate: Series = ()
    borrow_usd: Series = ()
    borrow_base: Series = ()
    staking_yield: Series = ()
    stress: Sequence[float] = ()
    coin_open: Sequence[float] = ()
    coin_close: Sequence[float] = ()
    borrow_available: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class NaiveSlot:
    """What a slot may hold, and what trading it costs. A chain is sorted by expiry and offers its `nth` contract; tiers are (floor notional, rate, deduction).

    `changes` lists (instant, fields): from that instant on these fields hold.
    """

    instruments: Sequence[NaiveInstrument]
    is_chain: bool = False
    min_days: float = 0.0
    nth: int = 1
    fee: float = 0.0
    half_spread: float = 0.0
    delivery_fee: float = 0.0
    liquidation_fee: float = 0.0
    tiers: Sequence[Tier] = ((0.0, 0.0, 0.0),)
    half_spreads: Sequence[float] = ()
    own_spread: bool = False
    impact: float = 0.0
    impact_model: str = "square_root"
    participation: float | None = None
    maker: bool = False
    taker_fee: float | None = None
    unit_fee: float = 0.0
    delivery_unit_fee: float = 0.0
    latency: int = 0
    changes: Sequence[tuple[int, Mapping[str, object]]] = ()


@dataclass(frozen=True, kw_only=True)
class NaiveRule:
    """A rule as data. Signals map the pair (index in long or −1, index in short or −1) to values over the bars.

    A missing `signal_minus` is `signal_plus`; missing exit signals are the entry signal of their side. Times are nanoseconds.
    """

    long: NaiveSlot | None = None
    short: NaiveSlot | None = None
    signal_plus: Signal | None = None
    signal_minus: Signal | None = None
    exit_plus: Signal | None = None
    exit_minus: Signal | None = None
    enter: float | None = None
    exit: float | None = None
    sides: str = "plus"
    size: float = 0.5
    leverage: float = 1.0
    margin: str = "isolated"
    resize: float | None = None
    stop: float | None = None
    loss: float | None = None
    expiry_days: float | None = None
    max_hold: int | None = None
    cooldown: int | None = None
    stake: bool = False
    scale: Signal | None = None
    entry_tranches: int = 1
    exit_tranches: int = 1
    tranche_gap: int | str = 0
    funding_entry: str = "before"
    hold_for_funding: bool = False
    funding_wait: int = 8 * HOUR
    roll_days: float | None = None
    stop_annualized: float | None = None
    converge: int | None = None
    exposure: float | None = None
    drawdown: float | None = None
    pause: int | None = None
    max_spread: float | None = None
    min_depth: float | None = None
    unstake: int | None = None
    policy: str = "wait"
    patience: int | None = None
    wallets: tuple[float, float] | None = None
    transfer_delay: int = 0
    transfer_fee: float = 0.0
    top_up: float | None = None
    deleveraged_at: int | None = None
    deleveraged_gap: float = 0.0


@dataclass(frozen=True)
class NaiveFill:
    """One change of a position, in base units (inverse: face over this price); `fee` is a cost, `slippage` too (a maker's is below 0)."""

    bar: int
    slot: str
    trade: int
    action: str
    quantity: float
    reference: float
    price: float
    fee: float
    slippage: float


@dataclass(kw_only=True)
class NaiveTrade:
    """From the first fill to the last exit; prices are means of references, NaN where there was no such fill.

    `quantity` is the largest base quantity of a slot until the entry was complete, `pair` the one entered.
    """

    entered_at: int
    side: int
    pair: Pair
    quantity: float
    entry_equity: float
    exited_at: int | None = None
    entry_long: float = NAN
    entry_short: float = NAN
    exit_long: float = NAN
    exit_short: float = NAN
    settlement_price: float = NAN
    entry_premium: float = NAN
    exit_premium: float = NAN
    reason: str = ""
    pnl: float = NAN
    attribution: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class NaiveResult:
    """What happened. Per bar: `equity`, `balance`, `quantity_*` (inverse: face), `pairs` (held or on order), every source as cumulated cash.

    `waited` lists (bar, slot) of orders that were ready and found no open or no room, `called_off` (bar, reason) of entries that never
    filled, `absorbed` (bar, slot, cash) of losses that the venue took, `sent` (bar, from, to, cash) of transfers and top-ups. `state` is
    the final state: accounts, quantities and targets by name. `drawn` lists (bar, slot, cash) of what cross margin lent a slot in a bar,
    `held_down` the bars in which the limit in total made a quantity smaller.
    """

    capital: float
    equity: list[float] = field(default_factory=list)
    balance: list[float] = field(default_factory=list)
    quantity_long: list[float] = field(default_factory=list)
    quantity_short: list[float] = field(default_factory=list)
    pairs: list[Pair | None] = field(default_factory=list)
    sources: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SOURCES})
    fills: list[NaiveFill] = field(default_factory=list)
    trades: list[NaiveTrade] = field(default_factory=list)
    waited: list[tuple[int, str]] = field(default_factory=list)
    called_off: list[tuple[int, str]] = field(default_factory=list)
    absorbed: list[tuple[int, str, float]] = field(default_factory=list)
    sent: list[tuple[int, str, str, float]] = field(default_factory=list)
    drawn: list[tuple[int, str, float]] = field(default_factory=list)
    held_down: list[int] = field(default_factory=list)
    state: dict[str, float] = field(default_factory=dict)


# --- sums ------------------------------------------------------------------------------------------------------------------------


def maintenance(notional: float, tiers: Sequence[Tier]) -> float:
    """The margin that a position of this notional must keep: notional·rate − deduction of the last tier whose floor it reaches."""
    _, rate, deduction = max((tier for tier in tiers if tier[0] <= max(notional, 0.0)), key=lambda tier: tier[0])
    return notional * rate - deduction


def breach_price(quantity: float, entry: float, money: float, tiers: Sequence[Tier]) -> float:
    """The mark at which money + quantity·(mark − entry) equals the maintenance: each tier's answer is tried, the one that fits is taken."""

    def gap(mark: float) -> float:
        return abs(money + quantity * (mark - entry) - maintenance(abs(quantity) * mark, tiers))

    answers = [(quantity * entry - money - deduction) / (quantity - abs(quantity) * rate) for _, rate, deduction in tiers]
    return min(answers, key=gap)


def inverse_breach_price(face: float, entry: float, coins: float, tiers: Sequence[Tier]) -> float:
    """The mark m at which coins + face·(1/entry − 1/m) equals the maintenance of |face|/m coins; inf where no mark is high enough."""

    def gap(coins_a_unit: float) -> float:
        return abs(coins + face * (1.0 / entry - coins_a_unit) - maintenance(abs(face) * coins_a_unit, tiers))

    answers = [(coins + face / entry + deduction) / (face + abs(face) * rate) for _, rate, deduction in tiers]
    best = min(answers, key=gap)
    return 1.0 / best if best > 0.0 else math.inf


def whole_lots(count: float) -> float:
    """The whole lots in `count`; a count within 1e-9 (relative) below a whole number is that number."""
    above = math.ceil(count)
    return float(above) if above - count <= 1e-9 * above else float(math.floor(count))


def known(series: Series, time: int) -> float:
    """The last value known at `time`, 0 before any is known."""
    value = 0.0
    for known_at, candidate in series:
        if known_at <= time:
            value = candidate
    return value


def at(values: Sequence[float], bar: int) -> float:
    """The value of a bar, NaN where the sequence was left out or the bar is before the first."""
    return values[bar] if values and bar >= 0 else NAN
