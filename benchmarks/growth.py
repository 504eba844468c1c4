"""How the time of a scan grows, one thing at a time: bars, combinations, contracts, trades; as a figure.

Three lines: the compiled scan alone; all that a sweep does of it in a process (`Grid.run`: rules, laying out, scan, statistics); and the hand-written loop,
which is run on some of the combinations and multiplied, as it takes the same time for each.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grids
import numpy as np
import pandas as pd
import task
from task import Data, Floats

import backtest as bt
from backtest.instruments import Instrument, Kind
from backtest.market import DatasetInfo
from backtest.report import style
from backtest.scan import Grid, Part

TURNS = 3  # of which the fastest counts
LOOPED = 12  # combinations that the loop runs
SCAN, WHOLE, LOOP = "the scan", "all of Grid.run", "the hand-written loop"
COLOURS = {SCAN: "blue", WHOLE: "sky", LOOP: "orange"}
MARKERS = {SCAN: "o", WHOLE: "s", LOOP: "^"}
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


@dataclass
class Panel:
    """What grows, and the seconds of each line."""

    what: str
    unit: str
    told: str
    places: list[float] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {SCAN: [], WHOLE: [], LOOP: []})


@dataclass(frozen=True, kw_only=True)
class Dated(bt.Strategy):
    """The task against the nearest future."""

    enter: float = bt.param(task.ENTER, "premium from which to enter")
    exit: float = bt.param(task.EXIT, "premium at which to leave")
    hold: int = bt.param(task.LONGEST_HOLD, "bars that a hold must not exceed")

    def rule(self, market: bt.Market) -> bt.Rule:
        """Buy spot, sell the future."""
        chain = market.future_chain()
        hold = pd.Timedelta((self.hold + 1) * task.MINUTE, "ns")
        return bt.Rule(
            long=market.spot, short=chain, signal=bt.premium(market, chain), enter=self.enter, exit=self.exit, max_hold=hold,
            size=task.FRACTION, resize=None,
        )  # fmt: skip


# ---------------------------------------------------------------- measuring


def panels(longest: int, most: int, contracts: tuple[int, ...]) -> list[Panel]:
    """All four. longest: bars; most: combinations; of the others, a fifth of the bars."""
    data = task.generate(longest)
    year = Data(data.spot[: longest // 5], data.perpetual[: longest // 5], data.premium[: longest // 5], data.rate[: longest // 5])
    few = grids.peers_grid((5, 5, 4))
    return [
        of_bars(data, few),
        of_combinations(year, most),
        of_contracts(year, few, contracts),
        of_trades(year),
    ]


def of_bars(data: Data, grid: Floats) -> Panel:
    """From a sixtieth of the bars to all."""
    panel = Panel("bars", "bars", f"{len(grid)} combinations, a spot and a perpetual")
    for share in (60, 20, 5, 2, 1):
        size = len(data) // share
        part = Data(data.spot[:size], data.perpetual[:size], data.premium[:size], data.rate[:size])
        add(panel, size, task.build_market(part), grids.Carry, grid, part)
    return panel


def of_combinations(data: Data, most: int) -> Panel:
    """From one to all, drawn from the wide grid."""
    panel = Panel("combinations", "combinations", f"{len(data):,} bars, a spot and a perpetual")
    holds = tuple(int(hold) for hold in np.linspace(3 * grids.DAY, 60 * grids.DAY, 25))
    every, market = grids.wide_grid(20, 20, holds), task.build_market(data)
    shuffled = every[np.random.default_rng(1).permutation(len(every))]
    for count in (10**power for power in range(len(str(most)))):
        add(panel, count, market, grids.Carry, shuffled[:count], data)
    return panel


def of_contracts(data: Data, grid: Floats, counts: tuple[int, ...]) -> Panel:
    """Futures in turn, two at a time: the bars of all contracts together stay the same, their edges grow."""
    panel = Panel("contracts", "dated futures", f"{len(data):,} bars, {len(grid)} combinations")
    for count in counts:
        add(panel, count, dated_market(data, count), Dated, grid, None)
    return panel


def of_trades(data: Data) -> Panel:
    """Thresholds around the mean of the premium, nearer and nearer to it."""
    panel = Panel("trades", "trades a combination", f"{len(data):,} bars, 100 combinations")
    market = task.build_market(data)
    for width in (16.0, 10.0, 6.0, 3.0, 1.5, 0.75, 0.4):
        grid = grids.product(5.0 + width * np.linspace(0.9, 1.1, 10), 5.0 - width * np.linspace(0.9, 1.1, 10), [len(data)])
        add(panel, None, market, grids.Carry, grid, data)
    return panel


def add(panel: Panel, place: float | None, market: bt.Market, strategy: type[bt.Strategy], grid: Floats, data: Data | None) -> None:
    """A point of each line. place: None for the trades of a combination, on average."""
    chosen = grids.parameters(grid)
    shared = Grid(strategy, market, task.CAPITAL, task.execution())
    shared.run(chosen[:1])  # signals are known, code is loaded
    whole, alone = float("inf"), float("inf")
    for _ in range(TURNS):
        with clock(Part, "work") as inside:
            seconds, found = timed(lambda: shared.run(chosen))
        whole, alone = min(whole, seconds), min(alone, sum(inside))
    trades = float(found.table["trades"].mean())
    panel.places.append(trades if place is None else place)
    panel.seconds[WHOLE].append(whole)
    panel.seconds[SCAN].append(alone)
    if data is None:
        return
    some = grid[np.random.default_rng(1).permutation(len(grid))[:LOOPED]]
    grids.looped(data, some[:1], fraction=task.FRACTION)
    each = min(timed(lambda: grids.looped(data, some, fraction=task.FRACTION))[0] for _ in range(TURNS)) / len(some)
    panel.seconds[LOOP].append(each * len(grid))


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor, of all threads."""
    begin = time.process_time()
    found = call()
    return time.process_time() - begin, found


@contextmanager
def clock(owner: Any, name: str) -> Iterator[list[float]]:
    """Seconds of the processor of each call of a method."""
    taken: list[float] = []
    method = getattr(owner, name)

    def measured(*given: Any) -> Any:
        seconds, found = timed(lambda: method(*given))
        taken.append(seconds)
        return found

    setattr(owner, name, measured)
    try:
        yield taken
    finally:
        setattr(owner, name, method)


class Settled(task.InMemory):
    """Futures that settle at the spot's close."""

    def __init__(self, instruments: dict[str, Instrument], data: Data, index: pd.DatetimeIndex) -> None:
        super().__init__(instruments, pd.DataFrame())
        ends = {name: one.expires_at for name, one in instruments.items() if one.expires_at is not None and one.expires_at <= index[-1]}
        stamps = pd.DatetimeIndex(list(ends.values()), tz="UTC").as_unit("ns")
        self._settled = pd.DataFrame({"instrument": list(ends), "ts": stamps, "price": data.spot[index.get_indexer(stamps)]})

    def settlements(self) -> pd.DataFrame:
        """A price for each that expires."""
        return self._settled


def dated_market(data: Data, count: int) -> bt.Market:
    """A spot and futures whose premium is the task's, each listed for two shares of the time and the nearest one for one."""
    index = pd.DatetimeIndex(
        (task.FIRST_STAMP.as_unit("ns").value + np.arange(len(data)) * task.MINUTE).view("M8[ns]"), name="ts"
    ).tz_localize("UTC")
    edges = np.linspace(0, len(data), count + 1).astype(int)
    instruments = {task.SPOT: Instrument(id=task.SPOT, venue="binance", kind=Kind.SPOT, base="ETH", quote="USDT")}
    frames = {task.SPOT: task.frame(data.spot, index)}
    for place in range(count):
        first, last = int(edges[max(place - 1, 0)]), int(edges[place + 1])
        expiry = index[last] if last < len(index) else index[-1] + pd.Timedelta(days=1)
        name = f"ETHUSDT-{place + 1:03d}"
        instruments[name] = Instrument(id=name, venue="binance", kind=Kind.FUTURE, base="ETH", quote="USDT", expires_at=expiry)
        alive = slice(first, last + 1)
        frames[name] = task.frame(data.perpetual[alive], index[alive])
    memory: Any = Settled(instruments, data, index)
    return bt.Market(frames, instruments, memory, task.MINUTE, 0, DatasetInfo("benchmark", "", True, ""))


# ---------------------------------------------------------------- the figure


def draw(found: list[Panel], file: Path) -> None:
    """Four panels, both axes by logarithms; a grey line grows as fast as what grows."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    with style.house_style():
        figure = style.new_figure(6.4)
        figure.patch.set_facecolor(style.colour("page"))
        figure.patch.set_alpha(1.0)
        for axes, panel in zip(figure.subplots(2, 2).ravel(), found, strict=True):
            axes.set_title(f"{panel.what[0].upper()}{panel.what[1:]}: {panel.told}")
            for name, seconds in panel.seconds.items():
                if seconds:
                    axes.plot(panel.places, seconds, color=style.colour(COLOURS[name]), marker=MARKERS[name], markersize=4, label=name)
            scan = panel.seconds[SCAN]
            if panel.what != "contracts":
                slope = [scan[-1] * place / panel.places[-1] for place in panel.places]
                axes.plot(
                    panel.places, slope, color=style.colour("grey"), linestyle=(0, (2, 2)), linewidth=0.9, label="in proportion", zorder=1
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(panel.unit)
            axes.set_ylim(0.4 * min(min(scan), *slope) if panel.what != "contracts" else 0.4 * min(scan))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds_text(value)))
            axes.yaxis.set_minor_formatter(NullFormatter())
            if panel.what == "contracts":
                axes.set_xticks(panel.places, [f"{place:,.0f}" for place in panel.places])
        handles, labels = figure.axes[0].get_legend_handles_labels()
        style.legend(figure, [handle for handle, _ in zip(handles, labels, strict=True)])
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))


def seconds_text(seconds: float) -> str:
    """A duration on an axis."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= 0.999 * size), UNITS[-1])
    return f"{seconds / size:,.3g} {unit}"


def rows(found: list[Panel]) -> list[str]:
    """The figure in numbers: the first and the last point of each panel."""
    lines = ["| what grows | from – to | the scan | all of `Grid.run` | the loop |", "|---|---:|---:|---:|---:|"]
    for panel in found:
        cells = [" – ".join(seconds_text(line[place]) for place in (0, -1)) if line else "" for line in panel.seconds.values()]
        lines.append(f"| {panel.unit} ({panel.told}) | {panel.places[0]:,.0f} – {panel.places[-1]:,.0f} | {' | '.join(cells)} |")
    return lines
