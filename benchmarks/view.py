"""What does the live page cost? Frames of 1280x720 at 15 frames/s, one viewer and ten, on loopback.

A writer process publishes rendered frames in turn; `depthd view` serves them; viewers are WebSocket clients that ask
for what the page asks for and acknowledge at once. Prints CPU of the server, frames per viewer, latency from
publication to arrival, bytes per frame, and the time to the first picture. With --browser, one tab of the system's
Chromium looks instead, and says how many frames it drew.

Run: .venv/bin/python benchmarks/view.py [--frames 150] [--browser]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import numpy as np

if TYPE_CHECKING:
    from chromium import Tab

NAME = f"depthd-bench-view-{os.getpid()}"
SHOWN = ["left", "depth", "source", "samples"]
"""What a page asks for that shows the left picture beside fused depth."""
EVERYTHING = [*SHOWN, "sigma", "stereo"]
"""And what it asks for as well while somebody reads values off the picture."""
FPS = 15.0
WARM_UP_S = 2.0


def publish_for_ever() -> None:
    """The writer: eight rendered frames with mono from the true depth, fused once, published in turn at
    FPS.
    """
    from depthd import fusion as fusions
    from depthd.cameras import open_camera
    from depthd.config import FusionConfig, SharedMemoryConfig, VirtualCameraConfig
    from depthd.frame import FusedPlanes, StageTimes
    from depthd.shm.publisher import Publisher

    config = VirtualCameraConfig(resolution="HD720", depth="sensor", minimum_depth_m=0.8, real_time=False)
    source = open_camera(config)
    camera = source.camera
    shared = SharedMemoryConfig(planes=("left", "stereo_depth", "mono"))
    publisher = Publisher(shared, NAME, camera, "benchmark", (camera.height // 2, camera.width // 2))
    fusion = fusions.create(FusionConfig(), camera, "relative_inverse")
    takes = []
    for _ in range(8):
        frame = source.grab()
        mono = np.ascontiguousarray((1 / source.ground_truth_m[::2, ::2]).astype(np.float32))  # type: ignore[attr-defined]
        planes = FusedPlanes.empty(camera.height, camera.width)
        result = fusion.fuse(frame.depth_m, mono, planes)
        takes.append(
            (
                replace(frame, left_bgr=frame.left_bgr.copy(), depth_m=frame.depth_m.copy()),
                mono,
                planes,
                result,
            )
        )
    next_s, index = time.monotonic(), 0
    while True:
        frame, mono, planes, result = takes[index % len(takes)]
        with publisher.slot() as slot:
            for name in ("depth_m", "source", "sigma"):
                getattr(slot.planes, name)[...] = getattr(planes, name)
            for name, plane in (("left", frame.left_bgr), ("stereo_depth", frame.depth_m), ("mono", mono)):
                slot.plane(name)[...] = plane
            slot.describe(replace(frame, index=index), result, StageTimes(captured_ns=time.monotonic_ns()))
        index += 1
        next_s += 1 / FPS
        time.sleep(max(0.0, next_s - time.monotonic()))


class Viewer:
    def __init__(self, parts: list[str]) -> None:
        self.parts = parts
        self.latency_ms: list[float] = []
        self.sizes: list[int] = []

    async def look(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.ws_connect(url + "stream", max_msg_size=0) as socket:
            await socket.send_json({"type": "want", "parts": self.parts})
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    continue
                now_ns = time.monotonic_ns()
                (length,) = struct.unpack_from("<I", message.data)
                header = json.loads(message.data[4 : 4 + length])
                self.latency_ms.append((now_ns - header["published_ns"]) / 1e6)
                self.sizes.append(len(message.data))
                await socket.send_json({"type": "ack", "id": header["id"]})


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(
    url: str, pid: int, viewers: int, parts: list[str], frames: int
) -> tuple[float, float, np.ndarray, float]:
    """CPU share of one core, frames/s per viewer, latencies in ms, kilobytes per frame."""
    looking = [Viewer(parts) for _ in range(viewers)]
    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.create_task(viewer.look(session, url)) for viewer in looking]
        await asyncio.sleep(WARM_UP_S)
        for viewer in looking:
            viewer.latency_ms.clear()
        began, cpu = time.monotonic(), cpu_s(pid)
        while min(len(viewer.latency_ms) for viewer in looking) < frames:
            await asyncio.sleep(0.05)
            if time.monotonic() - began > 4 * frames / FPS:
                break
        elapsed = time.monotonic() - began
        cpu = cpu_s(pid) - cpu
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    rate = float(np.mean([len(viewer.latency_ms) for viewer in looking])) / elapsed
    latency = np.concatenate([viewer.latency_ms for viewer in looking])
    return cpu / elapsed, rate, latency, float(np.mean(looking[0].sizes)) / 1e3


async def first_picture_ms(url: str) -> float:
    """From opening the page to the first frame in the hands of a viewer that has loaded every file."""
    static = Path(__file__).resolve().parent.parent / "depthd" / "web" / "static"
    files = [path for path in static.rglob("*") if path.suffix in {".js", ".css"}]
    begin = time.monotonic()
    async with aiohttp.ClientSession() as session:
        for path in files:
            async with session.get(f"{url}static/{path.relative_to(static)}") as answer:
                assert answer.status == 200
                await answer.read()
        async with session.ws_connect(url + "stream", max_msg_size=0) as socket:
            await socket.send_json({"type": "want", "parts": SHOWN})
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    break
    return 1e3 * (time.monotonic() - begin)


async def in_browser(url: str, pid: int, seconds: float) -> list[str]:
    """One tab of Chromium: frames drawn per second, their age, and what all of its processes use."""
    from chromium import cpu_s_by_process, tab

    lines = []
    async with tab(1280, 800) as page:
        begin = time.monotonic()
        await page.ask("Page.navigate", url=url)
        await page.until("Boolean(window.depthd?.frame())")
        lines.append(f"browser tab of 1280x800: first picture after {1e3 * (time.monotonic() - begin):.0f} ms")
        for name, action in TAB_STATES:
            await page.look(action)
            await asyncio.sleep(WARM_UP_S)
            drawn, used, server, began = await _drawn(page), cpu_s_by_process(), cpu_s(pid), time.monotonic()
            await asyncio.sleep(seconds)
            drawn, elapsed = await _drawn(page) - drawn, time.monotonic() - began
            used = {kind: value - used.get(kind, 0.0) for kind, value in cpu_s_by_process().items()}
            share = {"server": cpu_s(pid) - server, "Chromium": sum(used.values()), "renderer": used["renderer"]}
            ages = [await page.look("depthd.stream.ageMs(depthd.frame().header.captured_ns)") for _ in range(20)]
            lines.append(
                f"{name}: {drawn / elapsed:.1f} frames/s drawn, {np.median(ages):.0f} ms old, decoding "
                f"{await page.look('depthd.counters.decodeMs'):.0f} ms; of one core: "
                + ", ".join(f"{kind} {100 * value / elapsed:.0f} %" for kind, value in share.items())
            )
    return lines


TAB_STATES = (
    ("side by side", "0"),
    ("values under the pointer", "depthd.stage.point({x: 640, y: 360})"),
    ("all six panels", "depthd.stage.point(null), depthd.setMode('grid')"),
)


async def _drawn(page: Tab) -> int:
    return int(await page.look("depthd.counters.frames"))


def print_servers_table(url: str, pid: int, frames: int) -> None:
    print(f"first picture after {asyncio.run(first_picture_ms(url)):.0f} ms")
    print("viewers  parts  CPU of a core  CPU ms/frame  frames/s each  latency p50 ms  p99 ms  kB/frame")
    for viewers, parts in ((1, SHOWN), (10, SHOWN), (1, EVERYTHING)):
        cpu, rate, latency, size = asyncio.run(measure(url, pid, viewers, parts, frames))
        p50, p99 = np.percentile(latency, (50, 99))
        line = f"{viewers:7d}  {len(parts):5d}  {100 * cpu:11.0f} %  {1e3 * cpu / rate:12.1f}  {rate:13.1f}"
        print(f"{line}  {p50:14.1f}  {p99:6.1f}  {size:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--name", default=NAME, help=argparse.SUPPRESS)
    options = parser.parse_args()
    globals()["NAME"] = options.name
    if options.publish:
        publish_for_ever()
    writer = subprocess.Popen([sys.executable, __file__, "--publish", "--name", NAME])
    server = subprocess.Popen(
        [sys.executable, "-m", "depthd", "view", "--name", NAME, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("open ").strip()
        while not Path("/dev/shm", NAME).exists():
            time.sleep(0.1)
        time.sleep(3.0)
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"1280x720 published at {FPS:g} frames/s")
        if options.browser:
            print("\n".join(asyncio.run(in_browser(url, server.pid, options.frames / FPS))))
        else:
            print_servers_table(url, server.pid, options.frames)
    finally:
        for process in (server, writer):
            process.kill()
            process.wait()
        Path("/dev/shm", NAME).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
