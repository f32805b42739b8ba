"""A stand-in for the Hugging Face Hub on 127.0.0.1: the HTTP that pushing and pulling need.

It keeps one branch per repository, takes small files in the commit and large ones by LFS, as the
Hub does, and refuses a commit that names an object which was not uploaded.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit


class Hub(ThreadingHTTPServer):
    """What it holds: the files of each repository, uploaded objects, and the requests it saw."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        """Where it listens, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit_of(self, name: str) -> str:
        """Return the hash of a repository's files."""
        files = sorted(self.repositories[name].items())
        return hashlib.sha1(repr(files).encode()).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub in a thread of its own."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        is_json = not isinstance(content, bytes)
        body = json.dumps(content).encode() if is_json else content
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if is_json else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self._answer({"error": code}, 404, X_Error_Code=code)

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        self.server.requests.append(f"POST {path}")
        if self.headers.get("Authorization") != "Bearer hf_test":
            self._answer({"error": "Invalid credentials"}, 401)
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'somebody'}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            self._answer({"url": f"{self.server.address}/{name}", "name": name, "id": name})
        elif "/preupload/" in path:
            found = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self._answer({"files": found})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                each | {"actions": {"upload": {"href": f"{self.server.address}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").split("/commit/")[0], body)
        else:
            self._missing("EntryNotFound")

    def _commit(self, name: str, body: bytes) -> None:
        files = self.server.repositories[name]
        for line in body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        commit = self.server.commit_of(name)
        self._answer(
            {
                "success": True,
                "commitOid": commit,
                "commitUrl": f"{self.server.address}/{name}/commit/{commit}",
            }
        )

    def do_PUT(self) -> None:
        body = self._body()
        self.server.requests.append(f"PUT {self.path}")
        digest = hashlib.sha256(body).hexdigest()
        if self.path != f"/lfs/{digest}":
            self._answer({"error": "the content is not what its name says"}, 400)
            return
        self.server.objects[digest] = body
        self._answer({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            name, _, rest = path.removeprefix("/api/models/").partition("/revision/")
            if "/tree/" in name:
                name, _, rest = name.partition("/tree/")
            files = self.server.repositories.get(name)
            if files is None:
                self._missing("RepoNotFound")
            elif "/tree/" in path:
                self._answer([_entry(*each) for each in files.items()])
            else:
                siblings = [{"rfilename": file} for file in files]
                commit = self.server.commit_of(name)
                self._answer({"id": name, "modelId": name, "sha": commit, "siblings": siblings})
            return
        name, _, rest = path.lstrip("/").partition("/resolve/")
        content = self.server.repositories.get(name, {}).get(rest.partition("/")[2])
        if content is None:
            self._missing("EntryNotFound")
            return
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._answer(content, X_Repo_Commit=self.server.commit_of(name), ETag=etag)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha256(content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}
