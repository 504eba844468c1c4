"""A local server that answers as the venues do: their paths, their shapes, their limits a page, and their failures on demand.

The host that a client would talk to is the first folder of the path (`…/fapi.binance.com/fapi/v1/klines`), the archive's files stand under
`/archive/`. Prices are a function of time alone, so two downloads of one span are equal whatever the pages were. Nothing here imports the package.

    with VenueServer() as server:
        server.fail("/api/v3/klines", status=429, headers={"Retry-After": "3"})
"""

import hashlib
import io
import json
import math
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HOUR, DAY = 3_600_000, 86_400_000
LISTED = 1_672_531_200_000  # 2023-01-01
STEPS = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "8h": 480, "1d": 1440}
BYBIT_STEPS = {"1": 1, "5": 5, "60": 60, "240": 240, "D": 1440}
BYBIT_FUNDING = 8 * HOUR
PERPETUAL_ENDS = 4_133_404_800_000
DELIVERIES = {"240329": 1_711_699_200_000, "240628": 1_719_561_600_000}


@dataclass
class Fault:
    """What goes wrong with a request: an answer of another kind, or a connection cut after `cut` bytes of the body."""

    match: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None


@dataclass
class Asked:
    """A request that was made."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


def ms(time: datetime) -> int:
    """A time as the venues write it."""
    return int(time.timestamp() * 1000)


def price(at: int) -> float:
    return round(2000 + 100 * math.sin(at / 4e9) + 5 * math.sin(at / 7e6), 2)


def kline(at: int, step: int, level: float = 1.0) -> list[str]:
    """Open, high, low, close of the bar that begins at `at`."""
    first, last = price(at) * level, price(at + step) * level
    return [f"{value:.2f}" for value in (first, max(first, last) + 1, min(first, last) - 1, last)]


def rate(at: int) -> float:
    return round(1e-4 + 5e-5 * math.sin(at / 9e7), 8)


def interest(at: int) -> float:
    return round(1e6 + 1000 * math.sin(at / 5e6), 3)


def opens(first: int, last: int, step: int, listed: int = LISTED) -> range:
    """Starts of the bars that begin between two times."""
    first = max(first, listed)
    return range(-(-first // step) * step, last + 1, step)


class VenueServer:
    """The server. `asked` lists the requests; `files` are the archive's; `until` is the time after which there are no data (default: now)."""

    def __init__(self, until: int | None = None) -> None:
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.files: dict[str, bytes] = {}
        self.until = until
        self.holes: set[int] = set()
        self.on_request: Callable[[int], None] = lambda count: None
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self, dict(parse_qsl(urlsplit(self.path).query)))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._answer(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> "VenueServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, match: str, times: int = 1, **fault: Any) -> None:
        """Let the next requests whose path has `match` fail."""
        self.faults += [Fault(match, **fault) for _ in range(times)]

    def paths(self, match: str) -> list[Asked]:
        """The requests whose path has `match`."""
        return [one for one in self.asked if match in one.path]

    def put(self, path: str, name: str, text: str, checksum: str | None = None) -> None:
        """Put a zip with one file, and its checksum file, into the archive."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
        content = packed.getvalue()
        digest = checksum or hashlib.sha256(content).hexdigest()
        self.files[path] = content
        self.files[f"{path}.CHECKSUM"] = f"{digest}  {path.rpartition('/')[2]}\n".encode()

    @property
    def now(self) -> int:
        return self.until or int(time.time() * 1000)

    # --- answering -----------------------------------------------------------------------------------------

    def _answer(self, handler: BaseHTTPRequestHandler, params: dict[str, Any]) -> None:
        path = urlsplit(handler.path).path
        with self._lock:
            self.asked.append(Asked(path, params, dict(handler.headers)))
            self.on_request(len(self.asked))
            fault = next((fault for fault in self.faults if fault.match in path), None)
            if fault:
                self.faults.remove(fault)
        status, headers, body = self._content(path, params, handler.headers.get("Range"))
        if fault:
            status, headers = (fault.status if fault.cut is None else status), {**headers, **fault.headers}
            body = body if fault.body is None else fault.body
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        if fault and fault.cut is not None:
            handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body if fault is None or fault.cut is None else body[: fault.cut])
        if fault and fault.cut is not None:
            handler.close_connection = True

    def _content(self, path: str, params: dict[str, Any], span: str | None) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/archive/"):
            return self._file(path.removeprefix("/archive/"), span)
        try:
            answer = self._venue(path, params)
        except KeyError as missing:
            return 400, {"Content-Type": "application/json"}, json.dumps({"code": -1121, "msg": f"Invalid symbol. {missing}"}).encode()
        if answer is None:
            return 404, {"Content-Type": "text/html"}, b"<html>Not Found</html>"
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _file(self, name: str, span: str | None) -> tuple[int, dict[str, str], bytes]:
        content = self.files.get(name)
        if content is None:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        if span:
            first = int(span.removeprefix("bytes=").rstrip("-"))
            if first >= len(content):
                return 416, {}, b""
            return 206, {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}, content[first:]
        return 200, {}, content

    def _venue(self, path: str, params: dict[str, Any]) -> Any:
        host, _, rest = path[1:].partition("/")
        if host.endswith("binance.com"):
            return self._binance(host[0] if host[0] != "a" else "s", rest.rpartition("/")[2], params)
        if host == "api.bybit.com":
            return self._bybit(rest.removeprefix("v5/market/"), params)
        if host == "www.deribit.com":
            return self._deribit(rest.rpartition("/")[2], params)
        return self._hyperliquid(params) if host == "api.hyperliquid.xyz" else None

    # --- Binance -------------------------------------------------------------------------------------------

    def _binance(self, market: str, name: str, params: dict[str, str]) -> Any:
        if name == "exchangeInfo":
            return {"timezone": "UTC", "serverTime": self.now, "rateLimits": [], "exchangeFilters": [], "symbols": binance_symbols(market)}
        if name.lower().endswith("klines"):
            return self._binance_klines(market, name, params)
        if name == "fundingRate":
            known = {"f": ("ETHUSDT", "BTCUSDT"), "d": ("ETHUSD_PERP",)}[market]
            if params["symbol"] not in known:
                raise KeyError(params["symbol"])
            first, last = int(params.get("startTime", 0)), int(params.get("endTime", self.now))
            times = opens(first - 15, min(last, self.now), 8 * HOUR)
            # the venue stamps some events with a few milliseconds of delay
            rows = [(at + (at // HOUR) % 16, at) for at in times]
            rows = [(stamp, at) for stamp, at in rows if first <= stamp <= last and at not in self.holes]
            return [
                {"symbol": params["symbol"], "fundingTime": stamp, "fundingRate": f"{rate(at):.8f}", "markPrice": f"{price(at):.8f}"}
                for stamp, at in rows[: min(int(params.get("limit", 100)), 1000)]
            ]
        if name == "openInterestHist":
            step = STEPS[params["period"]] * 60_000
            first, last = int(params["startTime"]), min(int(params["endTime"]), self.now)
            if first < self.now - 30 * DAY - HOUR:
                return {"code": -1130, "msg": "parameter 'startTime' is invalid."}
            rows = [
                {
                    "symbol": params["symbol"],
                    "sumOpenInterest": f"{interest(at):.8f}",
                    "sumOpenInterestValue": f"{interest(at) * price(at):.8f}",
                    "timestamp": at,
                }
                for at in opens(first, last, step)
            ]
            return rows[-min(int(params.get("limit", 30)), 500) :]
        return None

    def _binance_klines(self, market: str, name: str, params: dict[str, str]) -> Any:
        symbol = params["pair"] if name == "indexPriceKlines" else params["symbol"]
        known = {one["symbol"]: one for one in binance_symbols(market)}
        if name != "indexPriceKlines" or market == "d":
            _ = known if name == "indexPriceKlines" else known[symbol]
        step = STEPS[params["interval"]] * 60_000
        ends = known.get(symbol, {}).get("deliveryDate", PERPETUAL_ENDS)
        first, last = int(params.get("startTime", 0)), min(int(params.get("endTime", self.now)), self.now, ends + DAY)
        level = {"markPriceKlines": 1.001, "indexPriceKlines": 0.999}.get(name, 1.0 if market == "s" else 1.002)
        rows = []
        for at in opens(first, last, step)[: min(int(params.get("limit", 500)), 1000 if market == "s" else 1500)]:
            traded = name == "klines"
            if name == "premiumIndexKlines":
                prices = [f"{rate(at) + more:.8f}" for more in (0, 1e-5, -1e-5, 5e-6)]
            else:
                prices = kline(at, step, level)
            volume = [f"{10 + at // step % 7}.50000000", at + step - 1, "20000.00000000", 42, "5.25000000", "10500.00000000", "0"]
            empty = ["0", at + step - 1, "0", 60, "0", "0", "0"]
            if at not in self.holes:
                rows.append([at, *prices, *(volume if traded else empty)])
        return rows

    # --- Bybit ---------------------------------------------------------------------------------------------

    def _bybit(self, name: str, params: dict[str, str]) -> Any:
        def wrapped(rows: list[Any], **more: Any) -> dict[str, Any]:
            result = {"category": params["category"], "list": rows, **more}
            return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.now}

        if name == "instruments-info":
            prelaunch = params.get("status") == "PreLaunch"
            return wrapped([] if prelaunch else bybit_symbols(params["category"]), nextPageCursor="")
        if params["symbol"] not in ("ETHUSDT", "ETHUSD"):
            return {"retCode": 10001, "retMsg": "params error: symbol invalid", "result": {}, "retExtInfo": {}, "time": self.now}
        last = int(params.get("end") or params.get("endTime") or self.now)
        first, last = int(params.get("start") or params.get("startTime") or 0), min(last, self.now)
        # every list of this venue comes newest first and is cut at its old end
        if name.endswith("kline"):
            step = BYBIT_STEPS[params["interval"]] * 60_000
            level = {"mark-price-kline": 1.001, "index-price-kline": 0.999}.get(name, 1.0)
            rows = [[str(at), *kline(at, step, level), *(["3.5", "7000"] if name == "kline" else [])] for at in opens(first, last, step)]
            return wrapped(rows[::-1][: min(int(params.get("limit", 200)), 1000)], symbol=params["symbol"])
        if name == "funding/history":
            times = opens(first, last, BYBIT_FUNDING)
            rows = [{"symbol": params["symbol"], "fundingRate": f"{rate(at):.8f}", "fundingRateTimestamp": str(at)} for at in times]
            return wrapped(rows[::-1][: min(int(params.get("limit", 200)), 200)])
        if name == "open-interest":
            step = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}[params["intervalTime"]] * 60_000
            rows = [{"openInterest": f"{interest(at):.3f}", "timestamp": str(at)} for at in opens(first, last, step)]
            return wrapped(rows[::-1][: min(int(params.get("limit", 50)), 200)], symbol=params["symbol"], nextPageCursor="")
        return None

    # --- Deribit -------------------------------------------------------------------------------------------

    def _deribit(self, name: str, params: dict[str, str]) -> Any:
        def wrapped(result: Any) -> dict[str, Any]:
            return {"jsonrpc": "2.0", "result": result, "usIn": 1, "usOut": 2, "usDiff": 1, "testnet": False}

        if name == "get_currencies":
            return wrapped(
                [{"coin_type": "ETHER", "currency": "ETH", "currency_long": "Ethereum", "fee_precision": 4, "withdrawal_fee": 0.0}]
            )
        if name == "get_instruments":
            return wrapped(deribit_instruments())
        first, last = int(params["start_timestamp"]), min(int(params["end_timestamp"]), self.now)
        if name == "get_tradingview_chart_data":
            step = {"1D": 1440}.get(params["resolution"]) or int(params["resolution"])
            times = opens(first, last, step * 60_000)[:5000]
            rows = [[float(value) for value in kline(at, step * 60_000)] for at in times]
            columns = dict(zip(("open", "high", "low", "close"), zip(*rows, strict=True), strict=True)) if rows else {}
            volumes = {"volume": [12.5] * len(rows), "cost": [25000.0] * len(rows)}
            return wrapped({"status": "ok" if rows else "no_data", "ticks": list(times), **columns, **volumes})
        if name == "get_funding_rate_history":
            times = opens(first, last, HOUR)[-744:]
            return wrapped(
                [
                    {
                        "timestamp": at,
                        "index_price": price(at),
                        "prev_index_price": price(at - HOUR),
                        "interest_8h": rate(at) * 8,
                        "interest_1h": rate(at),
                    }
                    for at in times
                ]
            )
        return None

    # --- Hyperliquid ---------------------------------------------------------------------------------------

    def _hyperliquid(self, params: dict[str, Any]) -> Any:
        kind = params["type"]
        if kind == "spotMeta":
            return HYPERLIQUID_SPOT
        if kind == "spotMetaAndAssetCtxs":
            return [HYPERLIQUID_SPOT, [{"dayNtlVlm": "8906.0", "markPx": "0.14", "midPx": "0.209265", "prevDayPx": "0.20432"}]]
        if kind == "metaAndAssetCtxs":
            facts = {"funding": "0.0000125", "openInterest": "10764.48", "markPx": "2000.1", "midPx": "2000.2", "oraclePx": "2000.0"}
            return [{"universe": [{"name": "ETH", "szDecimals": 4, "maxLeverage": 50}]}, [facts]]
        if kind == "candleSnapshot":
            req = params["req"]
            step = STEPS[req["interval"]] * 60_000
            times = opens(req["startTime"], min(req["endTime"], self.now), step)[-5000:]
            rows = [dict(zip("ohlc", kline(at, step), strict=True)) for at in times]
            more = ({"t": at, "T": at + step - 1, "s": req["coin"], "i": req["interval"], "v": "591.6427", "n": 46} for at in times)
            return [{**row, **facts} for row, facts in zip(rows, more, strict=True)]
        if kind == "fundingHistory":
            times = opens(params["startTime"], min(params.get("endTime", self.now), self.now), HOUR)[:500]
            # stamped some milliseconds after the hour
            return [{"coin": "ETH", "fundingRate": f"{rate(at):.10f}", "premium": f"{rate(at) * 8:.10f}", "time": at + 47} for at in times]
        return None


def binance_symbols(market: str) -> list[dict[str, Any]]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000", "stepSize": "0.001"},
    ]
    if market == "s":
        notional = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "maxNotional": "9000000.00000000"}
        spot = {"status": "TRADING", "baseAssetPrecision": 8, "quoteAsset": "USDT", "quotePrecision": 8, "filters": [*filters, notional]}
        return [
            {"symbol": f"{base}USDT", "baseAsset": base, "isSpotTradingAllowed": True, "permissions": ["SPOT"], **spot}
            for base in ("ETH", "BTC")
        ]
    quote = "USDT" if market == "f" else "USD"
    facts = {
        "baseAsset": "ETH",
        "quoteAsset": quote,
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "onboardDate": LISTED,
        "pair": f"ETH{quote}",
    }
    margin = (
        {"marginAsset": "USDT", "status": "TRADING"}
        if market == "f"
        else {"marginAsset": "ETH", "contractStatus": "TRADING", "contractSize": 10}
    )
    notional = {"filterType": "MIN_NOTIONAL", "notional": "20"}
    name = "ETHUSDT" if market == "f" else "ETHUSD_PERP"
    common = {**facts, **margin, "filters": [*filters, notional]}
    found = [{"symbol": name, "contractType": "PERPETUAL", "deliveryDate": PERPETUAL_ENDS, **common}]
    if market == "f":
        found += [
            {"symbol": f"ETHUSDT_{date}", "contractType": "CURRENT_QUARTER", "deliveryDate": ends, **common}
            for date, ends in DELIVERIES.items()
        ]
        bitcoin = {**common, "baseAsset": "BTC", "pair": "BTCUSDT"}
        found.append({"symbol": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": PERPETUAL_ENDS, **bitcoin})
    return found


def bybit_symbols(category: str) -> list[dict[str, Any]]:
    if category == "spot":
        lots = {
            "basePrecision": "0.00001",
            "quotePrecision": "0.0000001",
            "minOrderQty": "0.0001",
            "maxOrderQty": "1200",
            "minOrderAmt": "5",
        }
        facts = {"symbol": "ETHUSDT", "baseCoin": "ETH", "quoteCoin": "USDT", "status": "Trading", "marginTrading": "both"}
        return [{**facts, "lotSizeFilter": lots, "priceFilter": {"tickSize": "0.01"}}]
    linear = category == "linear"
    return [
        {
            "symbol": "ETHUSDT" if linear else "ETHUSD",
            "contractType": "LinearPerpetual" if linear else "InversePerpetual",
            "status": "Trading",
            "baseCoin": "ETH",
            "quoteCoin": "USDT" if linear else "USD",
            "launchTime": str(LISTED),
            "deliveryTime": "0",
            "priceScale": "2",
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
            "priceFilter": {"minPrice": "0.01", "maxPrice": "199999.98", "tickSize": "0.01"},
            "lotSizeFilter": {
                "maxOrderQty": "7240.00",
                "minOrderQty": "0.01" if linear else "1",
                "qtyStep": "0.01" if linear else "1",
                "minNotionalValue": "5",
            },
            "fundingInterval": 480,
            "settleCoin": "USDT" if linear else "ETH",
        }
    ]


def deribit_instruments() -> list[dict[str, Any]]:
    common = {
        "base_currency": "ETH", "counter_currency": "USD", "quote_currency": "USD", "settlement_currency": "ETH", "is_active": True,
        "tick_size": 0.05, "min_trade_amount": 1.0, "contract_size": 1.0, "maker_commission": 0.0, "taker_commission": 0.0005,
        "creation_timestamp": LISTED,
    }  # fmt: skip
    dated = {"expiration_timestamp": DELIVERIES["240628"], "settlement_period": "month"}
    return [
        {
            **common,
            "instrument_name": "ETH-PERPETUAL",
            "kind": "future",
            "settlement_period": "perpetual",
            "expiration_timestamp": 32503708800000,
        },
        {**common, "instrument_name": "ETH-28JUN24", "kind": "future", **dated},
        {**common, "instrument_name": "ETH-FS-28JUN24_PERP", "kind": "future_combo", **dated},
        {**common, "instrument_name": "ETH-28JUN24-2000-C", "kind": "option", "strike": 2000.0, "option_type": "call", **dated},
    ]


HYPERLIQUID_SPOT = {
    "tokens": [
        {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x6d1e", "isCanonical": True},
        {"name": "PURR", "szDecimals": 0, "weiDecimals": 5, "index": 1, "tokenId": "0xc1fb", "isCanonical": True},
    ],
    "universe": [{"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True}],
}
