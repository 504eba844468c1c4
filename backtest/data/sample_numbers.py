"""Random numbers and smooth functions that give the same bits on every machine.

The simulated sample has a pinned content hash, so nothing that feeds it may depend on the processor, the C library or the numpy version.
Additions, products, quotients and square roots of float64 arrays are exact by IEEE 754; `np.exp` and numpy's own normal draws are not
promised to be. So the draws come from the raw PCG64 stream (the part numpy keeps stable) and the exponential is built from exact operations.

    shocks = Draws(seed, "spot").normal(1000)
    basis = smooth(shocks, half_life=28.0)
"""

import zlib

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LOG2_INVERSE = 1.4426950408889634
_LOG2_HIGH = 0.6931471803691238  # the low bits are zero, so that k times it is exact
_LOG2_LOW = 1.9082149292705877e-10
_FACTORIALS = (1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0, 39916800.0, 479001600.0)
_WORD = 65536.0


class Draws:
    """A named stream of random numbers: the same seed and name give the same numbers whatever other streams were used for."""

    def __init__(self, seed: int, name: str) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))

    def uniform(self, count: int) -> Array:
        """Numbers evenly spread over the open interval (0, 1), shape (count,)."""
        first: Array = self._words(count)[:, 0].astype(np.float64)
        return (first + 0.5) / _WORD

    def normal(self, count: int) -> Array:
        """Bell-shaped numbers of mean 0 and variance 1 within ±3.46, shape (count,).

        The sum of the four 16-bit words of one draw: exact in integers, and close enough to a normal for paths whose heavy tails come
        from a volatility that moves.
        """
        words = self._words(count)
        total = words[:, 0] + words[:, 1] + words[:, 2] + words[:, 3]
        return (total / _WORD - (2.0 - 2.0 / _WORD)) * 1.7320508075688772

    def _words(self, count: int) -> npt.NDArray[np.int64]:
        raw: npt.NDArray[np.uint64] = np.asarray(self._bits.random_raw(count), dtype="<u8")
        return raw.view("<u2").reshape(count, 4).astype(np.int64)


def exponential(x: Array) -> Array:
    """The number e to the power x, to 1e-15 relative, from exactly rounded operations only; for |x| below 700."""
    power = np.rint(x * _LOG2_INVERSE)
    rest = (x - power * _LOG2_HIGH) - power * _LOG2_LOW
    value = np.full_like(rest, 1.0 / _FACTORIALS[-1])
    for factorial in reversed(_FACTORIALS[:-1]):
        value = value * rest + 1.0 / factorial
    return np.ldexp(value, power.astype(np.int32))


def smooth(shocks: Array, half_life: float) -> Array:
    """Mean-reverting path driven by the shocks, shape of `shocks`, started in its long-run state; unit shocks give unit variance.

    x_t = a·x_{t−1} + √(1 − a²)·e_t with a = 2^(−1/half_life), half_life in steps. The recursion is unrolled by doubling
    (x += a^s·x shifted by s, for s = 1, 2, 4, …), which stays in plain array operations.
    """
    keep = round(0.5 ** (1.0 / half_life), 12)
    scale = float(np.sqrt(1.0 - keep * keep))
    path = shocks * scale
    path[0] = shocks[0]
    return _accumulate(path, keep)


def average(values: Array, half_life: float) -> Array:
    """Exponentially weighted mean of all values so far, half_life in steps, started at the first value."""
    keep = round(0.5 ** (1.0 / half_life), 12)
    path = values * (1.0 - keep)
    path[0] = values[0]
    return _accumulate(path, keep)


def _accumulate(path: Array, keep: float) -> Array:
    shift, weight = 1, keep
    while shift < len(path) and weight > 1e-18:
        path[shift:] = path[shift:] + weight * path[:-shift]
        shift, weight = 2 * shift, weight * weight
    return path


def interpolate(at: Array, knots: Array, values: Array) -> Array:
    """Straight lines through (knots, values), flat outside; `np.interp` in operations that are rounded alike everywhere."""
    left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    share = np.clip((at - knots[left]) / (knots[left + 1] - knots[left]), 0.0, 1.0)
    return values[left] + share * (values[left + 1] - values[left])


def rounded(values: Array, per_unit: float) -> Array:
    """Values on the grid of 1/per_unit: the float64 nearest to the decimal number, so 0.1 is 0.1 and not 0.1000…01."""
    return np.rint(values * per_unit) / per_unit
