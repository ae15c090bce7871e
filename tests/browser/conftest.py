"""A real daemon, a real server and the system's Chromium for the browser tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 45.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# As root and without a GPU; nothing is looked up elsewhere.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]


class Server:
    """`depthd view` in a process of its own."""

    def __init__(self, daemon: Daemon, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "depthd", "view", "--name", daemon.name, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=daemon.environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("open http://"), line
        self.url = line.removeprefix("open ").strip()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_S)


class Daemon:
    """`depthd run` on the virtual camera: small, slow and steady, so that two cores manage everything."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self.environment = {**os.environ, "RUNTIME_DIRECTORY": str(log.parent)}
        self.start()

    def start(self) -> None:
        settings = (
            "camera.depth=sensor", "camera.minimum_depth_m=0.8", "camera.fps=4", "mono.threads=1",
            "shared_memory.planes=[left,stereo_depth,mono]", f"name={self.name}", "control.enabled=true",
        )  # fmt: skip
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "depthd", "run", *(w for s in settings for w in ("--set", s))],
                stderr=log,
                env=self.environment,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)


StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    name = f"depthd-browser-{time.monotonic_ns()}"
    running = Daemon(name, tmp_path_factory.mktemp("daemon") / "log")
    yield running
    running.kill()
    Path("/dev/shm", name).unlink(missing_ok=True)


@pytest.fixture
def start_server(daemon: Daemon) -> Iterator[StartServer]:
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(Server(daemon, *arguments))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Server]:
    running = Server(daemon)
    yield running
    running.stop()


class Page:
    """An open page; what it complains about is collected."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _on_console(self, message: Any) -> None:
        # Reading back what a software renderer drew is slow, and Chromium says so.
        if message.type in ("error", "warning") and "GL Driver Message" not in message.text:
            self.complaints.append(message.text)

    def look(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def until(self, expression: str, limit_s: float = LIMIT_S) -> Any:
        """The first value of the expression that is true. The page's own policy forbids Playwright's
        waiting.
        """
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            value = self.look(expression)
            if value:
                return value
            self.page.wait_for_timeout(100)
        pytest.fail(f"never true: {expression}; the page says: {self.complaints}")

    def freeze(self) -> None:
        """A frame that stays, with every part, and its exact planes at the server."""
        self.page.keyboard.press("g")
        self.until("depthd.frame()?.planes.mono && depthd.frame().planes.sigma && 1")
        self.look("document.getElementById('freeze').click()")
        self.until("depthd.frozen() && depthd.frame().header.held && depthd.frame().planes.mono && 1")


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    contexts = []

    def open_one(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 860}, "locale": "en-GB", **options})
        contexts.append(context)
        page = Page(context.new_page())
        page.page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: OpenPage, server: Server) -> Page:
    opened = open_page(server.url)
    opened.until("window.depthd?.frame() && 1")
    return opened
