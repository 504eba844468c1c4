"""Quote currencies: USDT, USDC and USD are three, and prices in two of them differ by an exchange rate that is no carry.

A dataset converts with a series named by the two currencies: `USDTUSD` is the price of one USDT in USD (its inverse, `USDUSDT`, serves too). Each
price is multiplied by the rate that was known (`known_at`) at its bar's end, an open by the one known at its bar's beginning.

What that means for PnL: all is accounted in the one currency, as if each leg were quoted in it. A margined leg's gain from t to T is
q·(F_T·r_T − F_t·r_t). The venue pays q·(F_T − F_t) in its own currency and keeps collateral in it: the rate's move on the notional, q·F_t·(r_T − r_t),
and on the collateral, C·(r_T − r_t), are not what an account there would see. Where a stablecoin stays within bps of its peg that is as little; through
a de-pegging it is not.

    market = bt.load_market("data/all", instruments=["ETHUSDT-PERP", "ETHUSD-SPOT.coinbase"], currency="USD")
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from backtest.data.point_in_time import as_known
from backtest.data.schema import PRICES
from backtest.data.store import Dataset
from backtest.data.validate import bar_step, in_dataset, refuse, series_errors, show_time
from backtest.errors import DataError, ParameterError
from backtest.instruments import Instrument

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
PRICED = (*PRICES, "bid", "ask", "mark", "mark_high", "mark_low", "index")
IN_QUOTE = (*PRICED, "quote_volume", "taker_buy_quote_volume", "depth_10bps", "depth_50bps")
LONGEST_AGE = pd.Timedelta("1D").value
STEPS = 4  # a rate may be as old as so many of its usual steps, at least a day
NAMED = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Rate:
    """The price of one currency in another over time: when each value became known (ns, sorted), and how old one may be."""

    series: str
    source: str
    target: str
    known: Times
    values: Floats
    longest: int

    def at(self, times: Times) -> tuple[Floats, Times]:
        """The values known at some instants, and how long they had been known (ns); NaN before the first."""
        place = np.searchsorted(self.known, times, side="right") - 1
        values = np.where(place >= 0, self.values[np.maximum(place, 0)], np.nan)
        return values, times - self.known[np.maximum(place, 0)]

    def sure(self, times: Times, instrument: str) -> Floats:
        """The values known at some instants; DataError with the place where there is none, or only one that is too old."""
        values, ages = self.at(times)
        self._refuse(values, times, instrument)
        old = np.flatnonzero(ages > self.longest)
        if len(old):
            first, oldest = int(old[0]), pd.Timedelta(int(ages.max())).ceil("h") // pd.Timedelta(hours=1)
            raise DataError(
                f"{instrument} at {_text(times[first])}: series {self.series} was last known {pd.Timedelta(int(ages[first]))} before, longer than "
                f'{pd.Timedelta(self.longest)}; import its missing values, choose a period outside, or allow it with max_gap="{oldest}h"'
            )
        return values

    def _refuse(self, values: Floats, times: Times, instrument: str) -> None:
        unknown = np.flatnonzero(np.isnan(values))
        if len(unknown):
            raise DataError(
                f"{instrument} at {_text(times[unknown[0]])}: series {self.series} has no value before {_text(self.known[0])}, so its prices can't be "
                f"converted to {self.target}; import earlier values, or start later"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Conversion:
    """Which instruments are converted, by which rate, into which currency; the others stay as they are."""

    currency: str = ""
    rates: Mapping[str, Rate] = field(default_factory=dict)

    def quote_of(self, instrument: Instrument) -> str:
        """The currency in which the venue quotes an instrument of the market."""
        rate = self.rates.get(instrument.id)
        return instrument.quote if rate is None else rate.source

    def frame(self, instrument: str, bars: pd.DataFrame) -> pd.DataFrame:
        """Bars in the currency of the market; extremes reach as far as the open, whose rate is an older one."""
        rate = self.rates.get(instrument)
        if rate is None or len(bars) == 0:
            return bars
        ends = _instants(pd.DatetimeIndex(bars.index))
        step = bar_step(pd.DatetimeIndex(bars.index)) or pd.Timedelta(0)
        begins = np.maximum(ends - step.value, np.concatenate([ends[:1] - step.value, ends[:-1]]))
        at_end = rate.sure(ends, instrument)
        out = bars.assign(**{name: bars[name].to_numpy() * at_end for name in IN_QUOTE if name in bars})
        opened = bars["open"].to_numpy() * rate.sure(begins, instrument)
        return out.assign(open=opened, high=np.maximum(out["high"], opened), low=np.minimum(out["low"], opened))

    def column(self, instrument: str, name: str, values: Floats, times: Times) -> Floats:
        """One more column of the bars, or prices at other instants such as funding marks; NaN where no rate was known."""
        rate = self.rates.get(instrument)
        return values if rate is None or name not in IN_QUOTE else values * rate.at(times)[0]

    def price(self, instrument: str, price: float, time: pd.Timestamp) -> float:
        """One price at an instant, as a settlement's."""
        rate = self.rates.get(instrument)
        return price if rate is None else price * float(rate.sure(np.array([time.as_unit("ns").value]), instrument)[0])

    def instrument(self, one: Instrument) -> Instrument:
        """An instrument as the market shows it: quoted in the currency, its smallest notional at the first rate."""
        rate = self.rates.get(one.id)
        if rate is None:
            return one
        least = None if one.min_notional is None else one.min_notional * float(rate.values[0])
        return replace(one, quote=self.currency, min_notional=least, tick=None)

    def notes(self, instruments: Iterable[Instrument]) -> list[str]:
        """A sentence for each currency that was converted."""
        by_rate: dict[str, tuple[Rate, list[Instrument]]] = {}
        for one in instruments:
            if one.id in self.rates:
                by_rate.setdefault(self.rates[one.id].series, (self.rates[one.id], []))[1].append(one)
        out = []
        for rate, found in by_rate.values():
            names = ", ".join(one.id for one in found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
            text = f"Converted from {rate.source} to {rate.target} by the series {rate.series}, as known at each bar: {names}."
            if any(one.derivative for one in found):
                text += f" What the rate does to the {rate.source} collateral and notional of a margined leg is not in the PnL."
            out.append(text)
        return out


UNCONVERTED = Conversion()


def conversion(dataset: Dataset, currency: str | None, instruments: Iterable[Instrument], max_gap: int | None) -> Conversion:
    """How to show some instruments in one currency; DataError where the dataset lacks the series that it takes.

    max_gap: how long a rate may have been known (ns; default: the longer of a day and four of its usual steps).
    """
    if currency is None:
        return UNCONVERTED
    if not currency.isalnum():
        raise ParameterError(f'currency must be a code like "USD" or "USDT": currency={currency!r}')
    found: dict[str, Rate] = {}
    rates: dict[str, Rate] = {}
    for one in instruments:
        if one.quote != currency:
            if one.quote not in found:
                found[one.quote] = _rate(dataset, one, currency, max_gap)
            rates[one.id] = found[one.quote]
    return Conversion(currency=currency, rates=rates)


def _rate(dataset: Dataset, one: Instrument, target: str, max_gap: int | None) -> Rate:
    straight, inverse = f"{one.quote}{target}", f"{target}{one.quote}"
    name = next((name for name in (straight, inverse) if name in dataset.series_names), None)
    if name is None:
        raise DataError(
            f'{one.id} is quoted in {one.quote} and nothing converts it to {target}: dataset {dataset.name} has no series "{straight}" (the price of one '
            f'{one.quote} in {target}) nor "{inverse}"; import one, or leave currency={target} out'
        )
    table = dataset.series(name).sort_values("ts", kind="stable")
    where = in_dataset(f"series {name}", pd.DatetimeIndex(table["ts"]))
    refuse(series_errors(table, where))
    values = table["value"].to_numpy(np.float64)
    bad = np.flatnonzero(values <= 0.0)
    if len(bad):
        raise DataError(
            f"{where(int(bad[0]))}: value is {values[bad[0]]:g}; an exchange rate must be above 0; correct the row or remove it"
        )
    known, rates = as_known(table)
    step = bar_step(pd.DatetimeIndex(table["ts"])) or pd.Timedelta(0)
    return Rate(
        series=name,
        source=one.quote,
        target=target,
        known=known,
        values=rates if name == straight else 1.0 / rates,
        longest=max(LONGEST_AGE, STEPS * step.value) if max_gap is None else max_gap,
    )


def mixed_quotes(instruments: Iterable[Instrument]) -> list[str]:
    """A warning where legs are quoted in several currencies, in a list; none where they are not."""
    groups: dict[str, list[str]] = {}
    for one in instruments:
        groups.setdefault(one.quote, []).append(one.id)
    if len(groups) < 2:
        return []
    parts = [
        f"{names[0]} is in {quote}" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more are in {quote}"
        for quote, names in groups.items()
    ]
    return [
        f"MIXED CURRENCIES: {' and '.join(parts)}: the premium contains the exchange rate, nothing converts it, and cash of both is added one to one."
    ]


def _instants(index: pd.DatetimeIndex) -> Times:
    return np.ascontiguousarray(index.asi8 if index.unit == "ns" else index.as_unit("ns").asi8)


def _text(nanosecond: int) -> str:
    return show_time(pd.Timestamp(int(nanosecond), tz="UTC"))
