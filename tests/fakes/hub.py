"""A hub on loopback that speaks the hub's HTTP interface, and breaks as networks do."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LoopbackHub:
    """Serves `files` ("owner/name/path" -> content) at /owner/name/resolve/REVISION/path.

    cuts: sizes after which the next answers break off, one per GET. status: answers everything with it.
    requests: (method, path, Range header) of everything asked.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.cuts: list[int] = []
        self.status: int | None = None
        self.requests: list[tuple[str, str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def gets(self) -> list[tuple[str, str | None]]:
        """(path, Range header) of every GET."""
        return [(path, wanted) for method, path, wanted in self.requests if method == "GET"]

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        self.requests.append((request.command, request.path, request.headers.get("Range")))
        content = self.files.get(self._name_of(request.path))
        if self.status is not None or content is None:
            self._refuse(request, self.status or 404)
            return
        start = self._start(request.headers.get("Range"))
        rest = content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(rest)))
        request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Accept-Ranges", "bytes")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if not body:
            return
        if self.cuts:
            request.wfile.write(rest[: self.cuts.pop(0)])
            request.close_connection = True
            return
        request.wfile.write(rest)

    @staticmethod
    def _name_of(path: str) -> str:
        repository, _, rest = path.lstrip("/").partition("/resolve/")
        return f"{repository}/{rest.partition('/')[2]}"

    @staticmethod
    def _start(wanted: str | None) -> int:
        return int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0

    @staticmethod
    def _refuse(request: BaseHTTPRequestHandler, status: int) -> None:
        request.send_response(status)
        if status == 404:
            request.send_header("X-Error-Code", "EntryNotFound")
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", "0")
        request.end_headers()
