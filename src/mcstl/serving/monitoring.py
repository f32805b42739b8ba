"""What surrounds every request: limits on its body, a log line without texts, and metrics."""

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

#: Paths and methods that logs and metrics name: another one could hold anything, texts too.
PATHS = ("/", "/predict", "/groups", "/health", "/metrics", "/docs", "/openapi.json")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: The page may load from this server alone, whatever its toolkit would like.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self'; frame-ancestors 'self'"
)
_SECURITY_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object on one line, with the facts logged beside it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; an error is named by its class, since its message may quote a text.

        Args:
            record: What was logged; its attribute `facts`, if any, is a dictionary.

        Returns:
            The line, without its end.
        """
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
        return json.dumps(fields)


def log_to_stderr() -> None:
    """Write the log of this server, and of uvicorn, to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("mcstl.serving", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)


class ServerMetrics:
    """Counts and times of one server's requests, for Prometheus."""

    def __init__(self) -> None:
        # A registry of its own, so that several servers fit in one process.
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mcstl_requests",
            "Requests answered.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "mcstl_request_seconds",
            "Time to answer a request.",
            ("path",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.texts = Counter("mcstl_texts", "Texts predicted.", registry=self.registry)
        self.in_flight = Gauge(
            "mcstl_requests_in_flight", "Requests not answered yet.", registry=self.registry
        )

    def text(self) -> bytes:
        """Write the metrics in Prometheus' text format.

        Returns:
            The body of an answer to ``/metrics``.
        """
        return generate_latest(self.registry)


class RequestGuard:
    """ASGI middleware that refuses large and slow bodies, and logs and counts every request.

    Every answer gets headers that keep a page from loading anything from elsewhere.

    Args:
        app: The ASGI app behind it.
        metrics: Where requests are counted.
        max_bytes: The most bytes that a request's body may have.
        max_seconds: The longest that a client may take to send its request.
    """

    def __init__(
        self, app: Any, *, metrics: ServerMetrics, max_bytes: int, max_seconds: float
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        path = _known_path(scope["path"])
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_SECURITY_HEADERS]
            await send(message)

        self.metrics.in_flight.inc()
        try:
            body = await self._body(receive)
            if isinstance(body, bytes):
                await self.app(scope, _replay(body, receive), send_guarded)
            else:
                await _refuse(send_guarded, *body)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.in_flight.dec()
            self.metrics.requests.labels(method, path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            facts = {"method": method, "path": path, "status": status}
            log.info("request", extra={"facts": facts | {"ms": round(1000 * seconds, 1)}})

    async def _body(self, receive: Receive) -> bytes | tuple[int, str]:
        """Read the whole body, or say with which status and why it is refused."""
        body = bytearray()
        try:
            async with asyncio.timeout(self.max_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return 400, "the request broke off"
                    body += message.get("body", b"")
                    if len(body) > self.max_bytes:
                        return 413, f"a request has at most {self.max_bytes:,} bytes"
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            return 408, f"the request did not end within {self.max_seconds:g} seconds"


def _known_path(path: str) -> str:
    if path in PATHS:
        return path
    return "/page" if path == "/page" or path.startswith("/page/") else "other"


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the app the body that was read, then what comes after it."""
    replayed = False

    async def receive_again() -> Message:
        nonlocal replayed
        if not replayed:
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_again


async def _refuse(send: Send, status: int, reason: str) -> None:
    content = json.dumps({"detail": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
