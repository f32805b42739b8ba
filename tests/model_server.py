"""A small server with the API of a language model, which also misbehaves as real ones do."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What is answered to the texts of a request, or a mishap to be had instead.
Answering = Callable[[str, int], "str | Mishap"]


class Mishap:
    """Something that goes wrong: a status, its headers, a body, a wait, a cut."""

    def __init__(
        self,
        status: int = 200,
        body: bytes | None = None,
        seconds: float = 0,
        finish: str = "stop",
        content: str = "",
        **headers: str,
    ) -> None:
        self.status, self.body, self.seconds = status, body, seconds
        self.finish, self.content, self.headers = finish, content, headers


class ModelServer:
    """Counts what it is asked and answers by `answering(user's text, how often asked before)`."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: Counter[str] = Counter()
        self.times: list[tuple[float, int]] = []  # when, and with which status
        self.keys: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    @property
    def requests(self) -> int:
        return self.asked.total()


@contextmanager
def serving(answering: Answering) -> Iterator[ModelServer]:
    """Serve on a free port of this machine."""
    state = ModelServer(answering)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            # A repeated question has the conversation so far in it.
            text = sent["messages"][-1]["content"]
            first = next(m["content"] for m in sent["messages"] if m["role"] == "user")
            with state.lock:
                before = state.asked[first]
                state.asked[first] += 1
                state.bodies.append(sent)
                state.keys.add(self.headers["Authorization"])
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            said = state.answering(first, before)
            mishap = said if isinstance(said, Mishap) else Mishap(content=said)
            time.sleep(mishap.seconds)
            with state.lock:
                state.at_once -= 1
                state.times.append((time.monotonic(), mishap.status))
            reply = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": sent["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": mishap.finish,
                        "message": {"role": "assistant", "content": mishap.content},
                    }
                ],
                "usage": {
                    "prompt_tokens": len(text) // 4,
                    "completion_tokens": 5,
                    "total_tokens": len(text) // 4 + 5,
                },
            }
            if mishap.status != 200:
                reply = {"error": {"message": mishap.content, "code": None, "type": "x"}}
            body = mishap.body if mishap.body is not None else json.dumps(reply).encode()
            try:
                self.send_response(mishap.status)
                for name, value in mishap.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # who asked has gone

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
