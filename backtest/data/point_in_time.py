"""A series as it could be known: at every instant the newest observation that had been published.

A value that is published late does not replace a newer one that was known already.

    known, values = as_known(dataset.series("risk_free"))
    now = values[np.searchsorted(known, instant, side="right") - 1]
"""

import numpy as np
import numpy.typing as npt
import pandas as pd


def as_known(series: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Times of publication (ns, in order) and the value that is the newest from each on; `series` has ts, known_at and value."""
    observed, known = (pd.DatetimeIndex(series[name]).as_unit("ns").asi8 for name in ("ts", "known_at"))
    order = np.lexsort((observed, known))
    newest = observed[order] >= np.maximum.accumulate(observed[order])
    return known[order][newest], series["value"].to_numpy(np.float64)[order][newest]
