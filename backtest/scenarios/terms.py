"""What happens to the execution: trading several times as hard, slow transfers, a position taken away, coins called back."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from backtest.errors import DataError, ParameterError
from backtest.execution import is_number
from backtest.instruments import Kind
from backtest.market import utc
from backtest.rule import Duration, Sides, instant
from backtest.scenarios.before import Before, Instant, Scenario, Scene, factor, gains, share, span


@dataclass(frozen=True)
class WorstCase(Scenario):
    """Trading `factor` times as hard all the time: spread and impact times it, the volume that one may trade divided by it, as `--stress`."""

    name: ClassVar[str] = "worst"
    factor: float = 5.0

    def __post_init__(self) -> None:
        factor(self.factor)

    def scene(self, before: Before) -> Scene:
        """The stress multiplier of the execution grows."""
        stress = before.execution.stress
        told = f"Spread and impact are {self.factor:g} times as large, the volume one may trade is that much smaller."
        return before.scene(told, stress=(stress if is_number(stress) else np.asarray(stress, dtype=np.float64)) * self.factor)


@dataclass(frozen=True)
class SlowTransfers(Scenario):
    """Every transfer and top-up takes `delay`."""

    name: ClassVar[str] = "transfers"
    delay: Duration = "3D"

    def __post_init__(self) -> None:
        span("delay", self.delay)

    def scene(self, before: Before) -> Scene:
        """The transfer delay of the execution is another."""
        if before.execution.wallets is None and before.execution.top_up is None:
            raise ParameterError(
                "scenario transfers needs money that is sent: wallets=None, top_up=None; give wallets=(0.6, 0.4) or top_up=0.5"
            )
        return before.scene(f"Transfers and top-ups take {self.delay}.", transfer_delay=self.delay)


@dataclass(frozen=True)
class Deleveraging(Scenario):
    """The venue takes away every derivative position that has a gain at the close of the bar around `at`, `gap` worse than the close.

    Default: the close at which the run's derivative had its largest gain.
    """

    name: ClassVar[str] = "deleveraging"
    at: Instant = None
    gap: float = 0.02

    def __post_init__(self) -> None:
        instant("at", self.at)
        share("gap", self.gap, zero=True)

    def scene(self, before: Before) -> Scene:
        """The execution gets the instant."""
        before.derivative(self.name)
        at, when = before.moment(self.at) if self.at is not None else self._best(before)
        told = f"Derivatives with a gain are taken away {100 * self.gap:g}% worse than the close of {when}."
        return before.scene(told, deleveraged_at=at, deleveraged_gap=float(self.gap))

    def _best(self, before: Before) -> tuple[pd.Timestamp, str]:
        slots = [
            name for name, leg in zip(("long", "short"), before.rule.legs, strict=True) if leg is not None and leg.kind is not Kind.SPOT
        ]
        gain = np.max([np.nan_to_num(gains(before, slot)) for slot in slots], axis=0)
        if not gain.max() > 0.0:
            raise DataError("scenario deleveraging: no derivative has a gain at any close of the run; name the time with at=…")
        chosen = before.market.clock[int(gain.argmax())]
        return chosen, f"{utc(chosen.value)}, the derivative's largest gain"


@dataclass(frozen=True)
class Recall(Scenario):
    """From `at` on no coin can be borrowed: a short spot is bought back and none is sold any more (default: the middle of the longest trade that is short a spot)."""

    name: ClassVar[str] = "recall"
    at: Instant = None

    def __post_init__(self) -> None:
        instant("at", self.at)

    def scene(self, before: Before) -> Scene:
        """The execution gets the instant."""
        sides = [
            sign
            for leg, sign, excluded in zip(before.rule.legs, (-1, 1), (Sides.PLUS, Sides.MINUS), strict=True)
            if leg is not None and leg.kind is Kind.SPOT and before.rule.sides is not excluded
        ]
        if not sides:
            raise ParameterError("scenario recall needs a short spot and the rule sells none; allow it with sides=both, or leave it out")
        at, when = before.moment(self.at, sides[0])
        return before.scene(f"Borrowed coins are called back at {when}; none can be borrowed after.", recalled_at=at)
