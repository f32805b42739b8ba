"""What surrounds every request: limits on its body, a log line without texts, and counts."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger("mcstl.serving")

#: Paths that are told apart in logs and counts: another one could hold anything, texts too.
PATHS = ("/", "/predict", "/groups", "/health", "/metrics", "/docs", "/openapi.json")
#: The page may load from this server alone, whatever its toolkit would like.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self'; frame-ancestors 'self'"
)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class JsonLines(logging.Formatter):
    """One JSON object per line: what was logged, and the facts given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0]:
            # The message of an error may quote a text; its kind does not.
            told["error"] = record.exc_info[0].__name__
        return json.dumps(told)


def log_to_stderr() -> None:
    """Write the log of this server, and of uvicorn, to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("mcstl.serving", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)


class Counts:
    """Prometheus metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "path", "status")
        self.requests = Counter(
            "mcstl_requests", "Requests answered.", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "mcstl_request_seconds",
            "Time to answer a request.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.texts = Counter("mcstl_texts", "Texts predicted.", registry=self.registry)
        self.waiting = Gauge(
            "mcstl_requests_in_flight", "Requests not answered yet.", registry=self.registry
        )

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Watch:
    """ASGI middleware: refuses large and slow bodies, logs and counts, and guards the page."""

    def __init__(self, app: Any, *, counts: Counts, most: int, patience: float) -> None:
        self.app = app
        self.counts = counts
        self.most = most
        self.patience = patience

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        path = scope["path"] if scope["path"] in PATHS else _family(scope["path"])
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        self.counts.waiting.inc()
        try:
            body = await self._body(scope, receive)
            if isinstance(body, bytes):
                await self.app(scope, _replay(body, receive), sending)
            else:
                await _refuse(sending, *body)
        finally:
            seconds = time.perf_counter() - started
            self.counts.waiting.dec()
            self.counts.requests.labels(method, path, str(status)).inc()
            self.counts.seconds.labels(path).observe(seconds)
            facts = {"method": method, "path": path, "status": status}
            log.info("request", extra={"facts": facts | {"ms": round(1000 * seconds, 1)}})

    async def _body(self, scope: Message, receive: Receive) -> bytes | tuple[int, str]:
        """Read the whole body, or say with which status and why it is refused."""
        body = bytearray()
        try:
            async with asyncio.timeout(self.patience):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return 400, "the request broke off"
                    body += message.get("body", b"")
                    if len(body) > self.most:
                        return 413, f"a request has at most {self.most:,} bytes"
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            return 408, f"the request did not end within {self.patience:g} seconds"


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _family(path: str) -> str:
    return "/page" if path == "/page" or path.startswith("/page/") else "other"


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the app the body that was read, then what comes after it."""
    first = True

    async def receiving() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receiving


async def _refuse(send: Send, status: int, why: str) -> None:
    content = json.dumps({"detail": why}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
