"""Lending and borrowing rates of Compound and Aave, read from the chain every 300 blocks, about an hour apart.

Columns are `supply_rate_<pool>`, `variable_borrow_rate_<pool>` and `stable_borrow_rate_<pool>` with a block number and its time. Rates are
fractions a year already, and known with their block. The currency stands in the file's name. Totals and prices in the file are left alone.

    parts = parse(sources_in(["compound_aave_usdc.csv"]), Request())      # lend_usdc_aave_v2, borrow_usdc_aave_v2, …
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from backtest.data.importers.canonical import column_series
from backtest.data.importers.common import Part, Request, read_csv
from backtest.data.importers.source import Source
from backtest.data.validate import refuse, time_errors
from backtest.errors import DataError

_RATE = re.compile(r"(supply|variable_borrow|stable_borrow)_rate_(comp|aave_v\d)")
_SIDES = {"supply": "lend", "variable_borrow": "borrow", "stable_borrow": "borrow_stable"}
_POOLS = {"comp": "compound"}
_CURRENCY = re.compile(r"(?<![a-z])(usdc|usdt|dai|weth|eth|wbtc)(?![a-z])")
_HIGHEST = 10.0


def sniff(source: Source) -> str | None:
    """Tell lending rates by their columns; None for a file of another shape."""
    names = source.header
    return "DeFi lending rates" if {"blockNumber", "timestamp"} <= set(names) and any(map(_RATE.fullmatch, names)) else None


def parse(sources: Sequence[Source], request: Request) -> Iterator[Part]:
    """A series for each pool and side; raises `DataError` for a file whose currency isn't told and for rows that can't be read."""
    for source in sources:
        found = _CURRENCY.findall(source.path.name.lower())
        if len(set(found)) != 1:
            raise DataError(f"{source.name}: its name does not tell one currency; name it after it, such as compound_aave_usdc.csv")
        table = read_csv(source)
        times = table.times("timestamp")
        refuse(time_errors(times, table.where))
        for column in table.columns:
            if (told := _RATE.fullmatch(column)) is None:
                continue
            values = table.numbers(column)
            odd = np.flatnonzero((values < 0) | (values >= _HIGHEST))
            if len(odd):
                raise DataError(
                    f"{table.where(int(odd[0]))}: {column} is {values[odd[0]]:g}; a rate is a fraction a year from 0 to {_HIGHEST:g}; "
                    "correct the row"
                )
            if np.isnan(values).all():
                continue
            yield column_series(table, f"{_SIDES[told[1]]}_{found[0]}_{_POOLS.get(told[2], told[2])}", times, values)
