"""Interest rates in the shape of FRED's CSV: a date and a series in percent a year, empty on holidays.

Rates become fractions a year. The Federal Reserve publishes the H.15 rates of a day on the next business day at 16:15 in Washington: a value
is taken as known at that time on the next weekday but one, which leaves room for a holiday and is late rather than early. A policy rate (the
primary credit rate) is announced before the day from which it holds, so it is known on that day.

    parts = parse(sources_in(["DTB3.csv"]), Request())      # the series risk_free
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from backtest.data.importers.canonical import column_series
from backtest.data.importers.common import Part, Request, read_csv
from backtest.data.importers.source import Source
from backtest.data.validate import refuse, time_errors
from backtest.errors import DataError

# FRED's id → the name of the series here, and whether it is in force on its day instead of published after it
SERIES = {
    "DTB3": ("risk_free", False),
    "DTB4WK": ("t_bill_4w", False),
    "DTB6": ("t_bill_6m", False),
    "DGS1": ("treasury_1y", False),
    "SOFR": ("sofr", False),
    "DFF": ("fed_funds", False),
    "EFFR": ("fed_funds_effective", False),
    "PCREDIT8": ("primary_credit", True),
    "DPCREDIT": ("primary_credit", True),
}

_DATES = ("observation_date", "DATE")
_MISSING = ("", ".")
_HIGHEST = 1.0
_PUBLISHED = pd.Timedelta("16h15min")


def sniff(source: Source) -> str | None:
    """Tell a file of one series by its two columns; None for another shape."""
    names = source.header
    if len(names) == 2 and names[0] in _DATES and names[1].isupper() and names[1].isalnum():
        return f"FRED series {names[1]}"
    return None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """The series in each file; raises `DataError` for one that isn't known as a rate, and for rows that can't be read."""
    for source in sources:
        date, code = source.header
        if code not in SERIES:
            raise DataError(
                f"{source.name}: {code} is not known to be a rate in percent a year; known: {', '.join(SERIES)}; import it with a mapping"
            )
        name, in_force = SERIES[code]
        table = read_csv(source)
        values = table.numbers(code, _MISSING) / 100
        days = table.times(date)
        refuse(time_errors(days, table.where))
        if np.isnan(values).all():
            raise DataError(f"{source.name}: no row has a value in {code}; download it again")
        odd = np.flatnonzero(np.abs(values) >= _HIGHEST)
        if len(odd):
            raise DataError(
                f"{table.where(int(odd[0]))}: {code} is {values[odd[0]] * 100:g} percent a year; rates are below 100; correct the row"
            )
        yield column_series(table, name, days, values, known_at=days if in_force else _publication(days))


def _publication(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """16:15 in Washington, two weekdays after each day."""
    later = np.busday_offset(days.tz_localize(None).to_numpy().astype("datetime64[D]"), 2, roll="backward")
    local = pd.DatetimeIndex(later).as_unit("ns") + _PUBLISHED
    return local.tz_localize("America/New_York").tz_convert("UTC")
