"""The server of the live page: files, WebSocket, downloads. Reads the shared memory; with the token, it hands changed
knobs to the daemon's control socket.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aiohttp import WSCloseCode, WSMsgType, web

from depthd.errors import DepthdError, UsageError
from depthd.web import download, health, judge, knobs
from depthd.web.access import Gate, is_loopback, token_for
from depthd.web.encode import encode
from depthd.web.hub import Hub, Viewer
from depthd.web.watcher import Watcher

STATIC = Path(__file__).parent / "static"


def _inline_script_hash() -> str:
    """The page's import map, the one script that browsers want inline, as Content-Security-Policy names
    it.
    """
    (script,) = re.findall(r'<script type="importmap">(.*?)</script>', (STATIC / "index.html").read_text("utf-8"))
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


_HEADERS = {
    # Nothing from elsewhere and no script but the page's own; inline styles are what uPlot sets.
    "Content-Security-Policy": f"default-src 'self'; script-src 'self' 'sha256-{_inline_script_hash()}'; "
    "img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "worker-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_LONGEST_MESSAGE = 4096


@dataclass(frozen=True)
class ViewOptions:
    """name: of the shared memory. token: None lets depthd decide (see depthd/web/access.py). picture: jpeg or webp.

    control: the daemon's control socket where it is not in its usual place.
    """

    name: str = "depthd"
    address: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    maximum_fps: float = 30.0
    picture: str = "jpeg"
    control: Path | None = None


class Server:
    """One page on one address. `run` serves until it is cancelled."""

    def __init__(self, options: ViewOptions) -> None:
        self.options = options
        self.token = token_for(options.address, options.token)
        self.hub = Hub()
        self.watcher: Watcher | None = None

    def application(self) -> web.Application:
        app = web.Application(middlewares=[Gate(self.token).middleware])
        app.on_response_prepare.append(_add_headers)
        app.cleanup_ctx.append(self._watching)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/stream", self._stream),
                web.get("/health", self._health),
                web.get("/knobs", self._knobs),
                web.post("/knobs", self._turn_knob),
                web.get("/evaluate", self._evaluate),
                web.get("/frame.{suffix}", self._frame),
                web.get("/recording.zip", self._recording),
                web.static("/static", STATIC),
            ]
        )
        return app

    async def run(self, on_listening: Callable[[str], None]) -> None:
        """Serves for ever. on_listening gets the address to open. Raises DepthdError where it cannot
        listen.
        """
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            listener = self._listen()
            await web.SockSite(runner, listener).start()
            on_listening(self.url(listener.getsockname()[1]))
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def url(self, port: int) -> str:
        """With the token where depthd has made it, to be opened by whoever sees this terminal. One that was given is
        known already, and must not get into the journal.
        """
        address = self.options.address
        if address in ("0.0.0.0", "::"):
            address = socket.gethostname()
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{port}/" + ("" if self.options.token or not self.token else f"?token={self.token}")

    def _listen(self) -> socket.socket:
        address, port = self.options.address, self.options.port
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=64)
        except OSError as error:
            raise DepthdError(
                f"cannot listen on {address}:{port}: {error.strerror or error}",
                "choose another --port, or as --host an address of this machine",
            ) from None

    async def _watching(self, _app: web.Application):  # type: ignore[no-untyped-def]
        self.watcher = Watcher(
            self.options.name, self.hub, asyncio.get_running_loop(), self.options.maximum_fps, self.options.picture
        )
        self.watcher.start()
        yield
        await asyncio.to_thread(self.watcher.stop)

    async def _index(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(max_msg_size=_LONGEST_MESSAGE, compress=False, heartbeat=20.0)
        await connection.prepare(request)
        viewer = Viewer(connection)
        self.hub.add(viewer)
        sending = asyncio.create_task(viewer.send())
        sending.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async for message in connection:
                parsed = _parsed(message.data) if message.type is WSMsgType.TEXT else None
                if parsed is None:
                    await connection.close(code=WSCloseCode.UNSUPPORTED_DATA)
                    break
                if parsed.get("type") != "hold" or not await self._send_held(viewer, parsed.get("id")):
                    self.hub.handle(viewer, parsed)
        finally:
            sending.cancel()
            self.hub.remove(viewer)
        return connection

    async def _send_held(self, viewer: Viewer, frame_id: object) -> bool:
        """Sends the frame that a page holds once more, with what the page wants by now. False where it is
        gone.
        """
        frame = self.watcher.held_frame(frame_id) if self.watcher and isinstance(frame_id, int) else None
        if frame is None:
            return False
        encoded = await asyncio.to_thread(encode, frame, viewer.wanted, self.options.picture)
        viewer.send_next(encoded.message(viewer.wanted, held=True))
        return True

    async def _health(self, _request: web.Request) -> web.Response:
        report = await asyncio.to_thread(health.health_of, self.options.name, self.options.control)
        return web.json_response({**report, "viewers": len(self.hub)})

    async def _knobs(self, _request: web.Request) -> web.Response:
        """What the daemon lets be changed; `allowed` is false where this page has no token."""
        try:
            answer = await asyncio.to_thread(knobs.read, self.options.name, self.options.control)
        except DepthdError as error:
            return web.json_response({"allowed": False, "knobs": [], "why": str(error)})
        why = "" if self.token else "start depthd view with a token to change them"
        return web.json_response({"allowed": bool(self.token), "knobs": answer, "why": why})

    async def _turn_knob(self, request: web.Request) -> web.Response:
        """The only thing that the page can change in the daemon, and only with the token."""
        if self.token is None:
            raise web.HTTPForbidden(text="depthd: only a page with a token may change anything\n")
        try:
            change = knobs.change_of(await request.text())
            answer = await asyncio.to_thread(knobs.turn, self.options.name, self.options.control, change)
        except DepthdError as error:
            raise web.HTTPBadRequest(text=f"depthd: {error}\n") from None
        return web.json_response({"allowed": True, "knobs": answer, "why": ""})

    async def _evaluate(self, request: web.Request) -> web.Response:
        """Judges a region or a pixel of the held frame, or of the next one."""
        held = request.query.get("id", "")
        frame = self.watcher.held_frame(int(held)) if self.watcher and held.isdecimal() else None
        try:
            return web.json_response(await asyncio.to_thread(judge.judged, self.options.name, frame, request.query))
        except DepthdError as error:
            raise web.HTTPBadRequest(text=f"depthd: {error}\n") from None

    async def _frame(self, request: web.Request) -> web.Response:
        suffix = request.match_info["suffix"]
        held = request.query.get("id", "")
        frame = self.watcher.held_frame(int(held)) if self.watcher and held.isdecimal() else None
        try:
            if frame is None:
                frame = await asyncio.to_thread(download.newest_frame, self.options.name)
            data = await asyncio.to_thread(download.file_of, frame, suffix)
        except UsageError as error:
            raise web.HTTPNotFound(text=f"depthd: {error}\n") from None
        except DepthdError as error:
            raise web.HTTPServiceUnavailable(text=f"depthd: {error}\n") from None
        name = download.name_of(frame, suffix)
        return web.Response(
            body=data,
            content_type=download.FORMATS[suffix],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        """Streams the next seconds. The recording thread waits for the receiver, so memory stays small."""
        try:
            seconds = float(request.query.get("seconds", "5"))
        except ValueError:
            raise web.HTTPBadRequest(text="depthd: seconds is a number\n") from None
        if not 0 < seconds <= download.LONGEST_RECORDING_S:
            raise web.HTTPBadRequest(text=f"depthd: at most {download.LONGEST_RECORDING_S:.0f} seconds are recorded\n")
        response = web.StreamResponse(headers={"Content-Disposition": 'attachment; filename="depthd-recording.zip"'})
        response.content_type = "application/zip"
        await response.prepare(request)
        loop = asyncio.get_running_loop()

        def write(block: bytes) -> None:
            asyncio.run_coroutine_threadsafe(response.write(block), loop).result()

        thread = ThreadPoolExecutor(1, "depthd-record")
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError, DepthdError):
                await loop.run_in_executor(thread, download.record, self.options.name, seconds, write)
        finally:
            thread.shutdown(wait=False)
        return response


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _parsed(text: str) -> dict[str, object] | None:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def warning_for(options: ViewOptions) -> str | None:
    """What the operator should know before other machines look."""
    if is_loopback(options.address):
        return None
    return "other machines can look with the token; what they see travels unencrypted"
