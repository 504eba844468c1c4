"""Liquidations: when and why a venue closed a leg, what each cost, and what a top-up in time would have saved.

A leg goes when its margin account is below the maintenance margin at the bar's worst mark. It pays the venue's fee, and the other leg stands alone until it is
out too, which is legging. Had the account been filled up before, the trade would have gone on as `kept` tells. Deleveragings are listed too; no top-up
prevents them.

    result.liquidations[["time", "contract", "cost", "needed_by", "top_up", "saved"]]
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtest import kernels as k
from backtest.kept import FORCED, SLOTS, Kept, keep, open_of
from backtest.ledger import instants

if TYPE_CHECKING:
    from backtest.result import Log, Prepared

COLUMNS = (
    "time", "trade", "slot", "contract", "action", "quantity", "entry", "mark", "account", "maintenance", "price", "fee", "absorbed", "legging", "cost",
    "needed_by", "shortfall", "top_up_by", "top_up", "kept_until", "kept_reason", "saved",
)  # fmt: skip
TIMES = ("time", "needed_by", "top_up_by", "kept_until")
DEAREST, LOOKED_AT = 100, 200_000_000  # liquidations at least, and bars, for which it is sought what a top-up would have saved: seconds
ROUNDING = 1e-9  # of the position's worth: a remainder below it is nothing that a venue absorbs


def table(prepared: "Prepared", log: "Log", fills: pd.DataFrame, trades: pd.DataFrame) -> pd.DataFrame:
    """One row a forced close, in time order. Cash is in the quote currency (of inverse contracts at the coin's close); what isn't known is NaN, NaT or "".

    quantity: held before, signed. entry: the account's. mark: the bar's worst; account, maintenance: there. absorbed: by the venue, ≥ 0. legging: the other leg's until it was
    out. cost: fee − absorbed − legging. shortfall: what had to be there by needed_by to get through this bar; top_up: by top_up_by to get to kept_until, with what
    a leg that wasn't liquidated would have needed. saved: the PnL of the trade, had it been kept, less what it made; of a trade's second row NaN.
    Each row looks through all bars to its trade's end. Beyond 100 liquidations (more where the run has fewer than 2 million bars) top_up_by, top_up, kept_until,
    kept_reason and saved are told of the dearest by cost only. In a book with cross margin these, account and shortfall are not told: they hang on the other rules.
    """
    rows, places, kept = list[dict[str, Any]](), list[int](), dict[int, Kept]()
    for fill in np.flatnonzero(fills["action"].isin(FORCED).to_numpy()).tolist():
        number, told = int(log.fills["trade"][fill]), fills.iloc[fill]
        if number not in kept:
            kept[number] = keep(prepared, log, trades.iloc[number], fill)
        row: dict[str, Any] = {name: told[name] for name in ("time", "trade", "slot", "action", "price", "fee")}
        row |= {"contract": told["instrument"], "quantity": -float(told["quantity"]), "absorbed": 0.0, "kept_reason": ""}
        row["legging"] = legging_after(prepared, log, fill)
        if row["action"] == "liquidation":
            row |= why(prepared, log, fill, kept[number])
            if prepared.backed:
                row |= {"account": np.nan, "needed_by": None, "shortfall": np.nan}
        row["cost"] = row["fee"] - row["absorbed"] - row["legging"]
        rows.append(row)
        places.append(fill)
    most = max(DEAREST, LOOKED_AT // len(prepared.market))
    asked = [place for place, row in enumerate(rows) if row["action"] == "liquidation" and not prepared.backed]
    for place in sorted(asked, key=lambda place: -rows[place]["cost"])[:most]:
        number = rows[place]["trade"]
        rows[place] |= top_up(prepared, log, trades.iloc[number], places[place], kept[number])
    out = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in TIMES:
        out[name] = pd.to_datetime(out[name], utc=True).astype("datetime64[ns, UTC]")
    return out


def why(prepared: "Prepared", log: "Log", fill: int, kept: Kept) -> dict[str, Any]:
    """The account at the bar's worst mark, what it lacked there and by when that was needed, and what of the loss the venue bore."""
    record, slot, bar = log.fills[fill], int(log.fills["slot"][fill]), int(log.fills["bar"][fill])
    holding, price = kept.holdings[slot], float(record["price"])
    (account,), (needed,) = kept.account(slot, bar, bar + 1)
    mark = holding.at(holding.tape, holding.worst_row, bar)
    money = price * float(kept.money(slot, bar, bar + 1)[0]) / holding.at(holding.tape, k.CLOSE, bar) if holding.inverse else 1.0
    gain = holding.quantity * ((1.0 / price if holding.inverse else price) - holding.entry)
    earned = holding.quantity * (holding.margin_accrual(bar + 1) - holding.entry_accrual)
    lacking = float(record["fee"]) - (holding.collateral + gain + earned + kept.backing(slot)) * money
    absorbs = int(prepared.rule_record["margin"]) == k.ISOLATED and lacking > ROUNDING * abs(float(record["quantity"])) * price
    entry, mark = (1.0 / holding.entry, 1.0 / mark) if holding.inverse else (holding.entry, mark)
    return {
        "entry": entry,
        "mark": mark,
        "account": float(account),
        "maintenance": float(needed),
        "absorbed": lacking if absorbs else 0.0,
        "needed_by": instants([open_of(prepared, bar)])[0],
        "shortfall": float(needed) - float(account),
    }


def top_up(prepared: "Prepared", log: "Log", trade: "pd.Series[Any]", fill: int, kept: Kept) -> dict[str, Any]:
    """What would have kept a liquidated leg, by when, and what that would have saved."""
    slot, bar, first = int(log.fills["slot"][fill]), int(log.fills["bar"][fill]), fill == kept.first
    lacking = kept.shortfall(slot)
    needed = lacking.worst
    if first:
        later = log.fills[fill:]
        gone = set(later["slot"][(later["trade"] == log.fills["trade"][fill]) & (later["action"] == k.LIQUIDATED)].tolist())
        needed += sum(max(kept.shortfall(other).worst, 0.0) for other in set(kept.holdings) - gone if kept.holdings[other].derivative)
    whole = len(kept.holdings) == int(prepared.rule_record["legs"]) or trade["reason"] not in FORCED
    made = kept.equity - float(log.trades["entry_equity"][int(log.fills["trade"][fill])])
    gone_before = {} if bar < lacking.end else {"shortfall": np.nan}  # it would have been out
    return gone_before | {
        "top_up_by": instants([open_of(prepared, lacking.bar)])[0],
        "top_up": needed,
        "kept_until": instants([kept.until])[0],
        "kept_reason": kept.end.reason,
        "saved": made - float(trade["pnl"]) if first and whole else np.nan,
    }


# ---------------------------------------------------------------- the other leg


def legging_after(prepared: "Prepared", log: "Log", fill: int) -> float:
    """What the other leg made alone: from beside the forced price (its close × price / the close of the leg that went) to its fills, or to the last close."""
    record = log.fills[fill]
    slot, other = int(record["slot"]), 1 - int(record["slot"])
    if int(prepared.rule_record["legs"]) < 2:
        return 0.0
    if prepared.terms["inverse"][0, other]:
        return legging_booked(prepared, log, fill)
    pair, bar = prepared.tapes.pairs[int(record["pair"])], int(record["bar"])
    closes = [close_at(prepared, pair, which, bar) for which in (slot, other)]
    beside = float(record["price"]) * closes[1] / closes[0]
    later = log.fills[fill + 1 :]
    left = later[(later["trade"] == record["trade"]) & (later["slot"] == other)]
    alone = float(np.sum(-left["quantity"] * (left["reference"] - beside)))
    if int(record["trade"]) == len(log.trades) - 1 and log.account["started"]:
        last = close_at(prepared, pair, other, len(prepared.market) - 1)
        alone += float(log.ledger[f"{SLOTS[other]}_quantity"][-1]) * (last - beside)
    return alone


def legging_booked(prepared: "Prepared", log: "Log", fill: int) -> float:
    """The same of an inverse contract, from what the ledger booked between the two; to its last booking where it is still held."""
    rows = log.ledger[np.searchsorted(log.ledger["bar"], log.fills["bar"][fill], side="right") - 1 :]
    flat = np.flatnonzero((rows["long_quantity"] == 0.0) & (rows["short_quantity"] == 0.0))
    return float(rows["legging"][flat[0] if len(flat) else -1] - rows["legging"][0])


def close_at(prepared: "Prepared", pair: Any, slot: int, bar: int) -> float:
    """The last known close of a pair's slot."""
    tape, name = prepared.tapes.long if slot == 0 else prepared.tapes.short, SLOTS[slot]
    return float(tape[k.CLOSE, int(pair[f"{name}_start"]) + min(bar, int(pair[f"{name}_last"]))])
