"""Answers of the venues in their own shapes with invented values, for the tests of the JSON importers."""

import json
from pathlib import Path
from typing import Any

HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01T00:00Z in ms


def iso(ms: int) -> str:
    """2024-01-01T00:00:00.000Z for a time in ms."""
    hours, rest = divmod(ms - START, HOUR)
    days, hours = divmod(hours, 24)
    return f"2024-01-{days + 1:02}T{hours:02}:{rest // 60000:02}:{rest % 60000 // 1000:02}.{rest % 1000:03}Z"


def hyperliquid(rows: int = 3, coin: str = "ETH") -> list[dict[str, Any]]:
    return [
        {"coin": coin, "fundingRate": f"0.0000{n + 1}", "premium": f"0.000{n + 1}", "time": START + n * HOUR + 7 * n} for n in range(rows)
    ]


def bybit(rows: int = 3, symbol: str = "ETHUSDT", category: str = "linear") -> dict[str, Any]:
    found = [
        {"symbol": symbol, "fundingRate": f"0.000{n + 1}", "fundingRateTimestamp": str(START + n * 8 * HOUR)} for n in reversed(range(rows))
    ]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": category, "list": found}, "time": START + 1000 * HOUR}


def bybit_klines(rows: int = 3, symbol: str = "ETHUSDT", category: str = "linear", asked: int = 1000 * HOUR) -> dict[str, Any]:
    found = [[str(START + n * HOUR), "2000", "2010", "1990", "2005", f"{n + 1}", f"{2000 * (n + 1)}"] for n in reversed(range(rows))]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": category, "symbol": symbol, "list": found}, "time": START + asked}


def okx(rows: int = 3, symbol: str = "ETH-USDT-SWAP") -> dict[str, Any]:
    found = [
        {
            "instType": "SWAP",
            "instId": symbol,
            "fundingRate": "0.0009",
            "realizedRate": f"0.000{n + 1}",
            "fundingTime": str(START + n * 8 * HOUR),
        }
        for n in reversed(range(rows))
    ]
    return {"code": "0", "msg": "", "data": found}


def okx_candles(rows: int = 3) -> dict[str, Any]:
    found = [
        [str(START + n * HOUR), "2000", "2010", "1990", "2005", "50", "5", "10000", "1" if n < rows - 1 else "0"]
        for n in reversed(range(rows))
    ]
    return {"code": "0", "msg": "", "data": found}


def dydx(rows: int = 3, ticker: str = "ETH-USD") -> dict[str, Any]:
    found = [
        {
            "ticker": ticker,
            "rate": f"0.0000{n + 1}",
            "price": f"{2000 + n}",
            "effectiveAtHeight": f"{n}",
            "effectiveAt": iso(START + n * HOUR + 586),
        }
        for n in reversed(range(rows))
    ]
    return {"historicalFunding": found}


def kraken(rows: int = 3, hours: int = 1) -> dict[str, Any]:
    found = [
        {"timestamp": iso(START + n * hours * HOUR), "fundingRate": 0.5 * (n + 1), "relativeFundingRate": 0.0001 * (n + 1)}
        for n in range(rows)
    ]
    return {"result": "success", "serverTime": iso(START), "rates": found}


def bitmex(rows: int = 3, symbol: str = "XBTUSD", interval: str = "2000-01-01T08:00:00.000Z") -> list[dict[str, Any]]:
    return [
        {
            "timestamp": iso(START + (4 + 8 * n) * HOUR),
            "symbol": symbol,
            "fundingInterval": interval,
            "fundingRate": 0.0001 * (n + 1),
            "fundingRateDaily": 0.0003 * (n + 1),
        }
        for n in range(rows)
    ]


def deribit(rows: int = 3) -> dict[str, Any]:
    found = [
        {
            "timestamp": START + n * HOUR,
            "interest_1h": 1e-5 * (n + 1),
            "interest_8h": 8e-5,
            "index_price": 2000.0 + n,
            "prev_index_price": 1999.0 + n,
        }
        for n in range(rows)
    ]
    return {"jsonrpc": "2.0", "id": 1, "result": found, "usOut": (START + 1000 * HOUR) * 1000}


def deribit_chart(rows: int = 3, asked: int = 1000 * HOUR) -> dict[str, Any]:
    result = {
        "status": "ok",
        "ticks": [START + n * HOUR for n in range(rows)],
        **{name: [price] * rows for name, price in (("open", 2000.0), ("high", 2010.0), ("low", 1990.0), ("close", 2005.0))},
        "volume": [n + 1.0 for n in range(rows)],
        "cost": [2000.0 * (n + 1) for n in range(rows)],
    }
    return {"jsonrpc": "2.0", "id": 1, "result": result, "usOut": (START + asked) * 1000}


def deribit_trades(seconds: range, name: str = "ETH-PERPETUAL") -> dict[str, Any]:
    found = [
        {
            "instrument_name": name,
            "trade_id": f"ETH-{second}",
            "trade_seq": second,
            "timestamp": START + second * 1000,
            "price": 2000.0 + second % 7,
            "amount": 2000.0,
            "direction": "buy" if second % 2 else "sell",
            "mark_price": 2000.0,
        }
        for second in seconds
    ]
    return {"jsonrpc": "2.0", "id": 1, "result": {"trades": found, "has_more": True}}


def ticker(ms: int, bid: float | None = 1999.0, ask: float | None = 2001.0, **more: Any) -> dict[str, Any]:
    data = {
        "timestamp": START + ms,
        "instrument_name": "ETH-PERPETUAL",
        "best_bid_price": bid,
        "best_ask_price": ask,
        "best_bid_amount": 10.0,
        "best_ask_amount": 20.0,
        **more,
    }
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "ticker.ETH-PERPETUAL.100ms", "data": data}}


def save(folder: Path, name: str, content: Any) -> Path:
    """Write an answer as a file: text as it is, a list of documents for `.jsonl`, else one document."""
    file = folder / name
    if isinstance(content, str):
        file.write_text(content, encoding="utf-8")
    elif name.endswith(".jsonl"):
        file.write_text("".join(json.dumps(each) + "\n" for each in content), encoding="utf-8")
    else:
        file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return file
