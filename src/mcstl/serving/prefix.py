"""A server that stands under a prefix of another's address, as behind a reverse proxy."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mcstl._support.errors import InputError, brief

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]
App = Callable[[Scope, Channel, Channel], Awaitable[None]]

#: No host can be in it: a client could send people elsewhere with a prefix as //elsewhere.
_PREFIX = re.compile(r"(/[\w.~-]+)+")


#: What gradio's page has in its head, and what it gets instead, as seen from the page.
_ITS_LINK = b'<link rel="manifest" href="/manifest.json" />'
_OUR_LINKS = b'<link rel="icon" href="../favicon.ico"><link rel="manifest" href="../manifest.json">'


class Prefixed:
    """Makes links of the page, the API and its documentation begin with the prefix.

    Args:
        app: The ASGI app.
        root_path: The prefix, "" for none. A proxy may name another in ``X-Forwarded-Prefix``.
    """

    def __init__(self, app: App, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Handle one connection, as ASGI has it.

        Args:
            scope: What is known of the connection.
            receive: Gets what the client sends.
            send: Sends the answer.
        """
        if scope["type"] in ("http", "websocket"):
            forwarded = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin1")
            named = forwarded.rstrip("/")
            prefix = named if _PREFIX.fullmatch(named) else self.root_path
            # One that is mounted in another has been given the whole prefix.
            if prefix and not scope.get("root_path", "").startswith(prefix):
                path = scope["path"]
                inside = path == prefix or path.startswith(f"{prefix}/")
                # As ASGI has it, the path begins with the prefix, which proxies take away.
                scope = {**scope, "root_path": prefix, "path": path if inside else prefix + path}
        await self.app(scope, receive, send)


class LinksFromThePage:
    """Gives the page the icon and the manifest of this server.

    As gradio makes it, it has no icon, and a manifest at the root of the address, where behind a
    proxy another server answers.

    Args:
        app: The ASGI app.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Handle one connection, as ASGI has it.

        Args:
            scope: What is known of the connection.
            receive: Gets what the client sends.
            send: Sends the answer.
        """
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope.get("method") != "GET" or path != "/page/":
            await self.app(scope, receive, send)
            return
        start: Scope = {}
        html = b""

        async def send_at_once(message: Scope) -> None:
            nonlocal start, html
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                html += message.get("body", b"")
                if message.get("more_body"):
                    return
                html = html.replace(_ITS_LINK, _OUR_LINKS)
                headers = [header for header in start["headers"] if header[0] != b"content-length"]
                headers.append((b"content-length", str(len(html)).encode()))
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": html})

        await self.app(scope, receive, send_at_once)


def checked(root_path: str) -> str:
    """Check a prefix.

    Args:
        root_path: The prefix, as ``/town``; "" for none.

    Returns:
        The prefix without a slash at its end.

    Raises:
        InputError: It is none.
    """
    prefix = root_path.rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise InputError(
            f"--root-path is the path under which a proxy shows the server, as /town; "
            f"got {brief(root_path)!r}"
        )
    return prefix
