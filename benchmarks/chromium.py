"""One tab of the system's Chromium, over its debugging socket.

Playwright listens to every WebSocket message of a page and copies it, a megabyte of depth 15 times a second; what it
would measure is mostly itself. This asks the page only what it is asked.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--remote-debugging-port=0",
)  # fmt: skip
ANNOUNCED = "DevTools listening on "


class Tab:
    """A tab of `width` x `height` CSS pixels."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked = 0

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._asked:
                return dict(answer["result"])

    async def look(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['text']}")
        return answer["result"].get("value")

    async def until(self, expression: str, limit_s: float = 30.0) -> None:
        async with asyncio.timeout(limit_s):
            while not await self.look(expression):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def tab(width: int, height: int) -> AsyncIterator[Tab]:
    """Opens Chromium with one empty tab, and ends it."""
    folder = tempfile.mkdtemp(prefix="depthd-chromium-")
    process = await asyncio.create_subprocess_exec(
        shutil.which("chromium") or "chromium",
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        address = await _address(process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{address}/json") as answer:
                pages = [target for target in await answer.json() if target["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                opened = Tab(socket)
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
                await opened.ask("Emulation.setDeviceMetricsOverride", **size)
                yield opened
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if line.startswith(ANNOUNCED):
            return line.removeprefix(ANNOUNCED).split("/")[2]
    raise RuntimeError("Chromium did not start")


def cpu_s_by_process() -> dict[str, float]:
    """CPU seconds so far of all Chromium processes of this machine, by kind."""
    used: dict[str, float] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            fields = process.joinpath("stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if "/chromium" not in command.split(" ")[0]:
            continue
        kind = next((word.split("=")[1] for word in command.split() if word.startswith("--type=")), "browser")
        used[kind] = used.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
