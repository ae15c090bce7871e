"""The ways from one process to others that benchmarks/shm.py compares; each is a writer and a reader of one
payload.

A payload is 1280 x 720 float32 plus uint8. Its first eight bytes are the CLOCK_MONOTONIC time of publishing,
except for depthd, whose frames carry that themselves. A writer's `publish` returns after the frame is on its
way; a reader's `take` returns that time once it is awake and can see the pixels.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing.connection
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 1280, 720
PIXELS = WIDTH * HEIGHT
PAYLOAD_BYTES = PIXELS * 5
SOCKET_FOLDER = Path("/tmp")


def stamp(buffer: Any) -> None:
    np.frombuffer(buffer, np.int64, 1)[0] = time.monotonic_ns()


class Depthd:
    """This project: a ring in shared memory and a futex."""

    copies = "zero"

    def __init__(self, name: str, readers: int) -> None:
        from depthd.config import SharedMemoryConfig
        from depthd.frame import Camera, Fit, FusionResult, StageTimes, StereoFrame
        from depthd.shm.publisher import Publisher

        camera = Camera(WIDTH, HEIGHT, 700.0, 700.0, 640.0, 360.0, 0.12)
        self._publisher = Publisher(SharedMemoryConfig(planes=()), name, camera, "benchmark")
        self._frame = StereoFrame(0, time.monotonic_ns(), 0, camera, None)
        self._result = FusionResult(Fit(), (0,) * 6)
        self._times = StageTimes()

    def publish(self, fill: Callable[..., None] | None) -> int:
        with self._publisher.slot() as slot:
            if fill is not None:
                fill(slot.planes.depth_m, slot.planes.source)
            slot.describe(self._frame, self._result, self._times)
            started = time.monotonic_ns()
        return time.monotonic_ns() - started

    def close(self) -> None:
        self._publisher.close()

    @staticmethod
    def reader(name: str) -> Iterator[Callable[[], int]]:
        import depthd

        with depthd.open(name) as reader:

            def take() -> int:
                frame = reader.wait(timeout=10.0)
                assert frame.depth.shape == (HEIGHT, WIDTH)
                return frame.timestamps.published_ns

            yield take


class Iceoryx:
    """iceoryx2, its own Python binding: zero-copy publish and an event."""

    copies = "zero"

    def __init__(self, name: str, readers: int) -> None:
        import iceoryx2 as iox2

        self._iox2 = iox2
        iox2.set_log_level(iox2.LogLevel.Fatal)
        self._node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        publish, event = self._services(iox2, self._node, name)
        self._publisher = publish.publisher_builder().initial_max_slice_len(PAYLOAD_BYTES).create()
        self._notifier = event.notifier_builder().create()

    @staticmethod
    def _services(iox2: Any, node: Any, name: str) -> tuple[Any, Any]:
        publish = (
            node.service_builder(iox2.ServiceName.new(name))
            .publish_subscribe(iox2.Slice[ctypes.c_uint8])
            .payload_alignment(iox2.Alignment.new(8))
            .max_subscribers(64)
            .subscriber_max_buffer_size(2)
            .enable_safe_overflow(True)
            .max_nodes(70)
            .open_or_create()
        )
        event = (
            node.service_builder(iox2.ServiceName.new(name)).event().max_listeners(64).max_nodes(70).open_or_create()
        )
        return publish, event

    def publish(self, fill: Callable[..., None] | None) -> int:
        sample = self._publisher.loan_slice_uninit(PAYLOAD_BYTES)
        payload = sample.payload()
        view = np.frombuffer((ctypes.c_uint8 * PAYLOAD_BYTES).from_address(payload.as_ptr()), np.uint8)
        if fill is not None:
            fill(view[: PIXELS * 4].view(np.float32), view[PIXELS * 4 :])
        sample = sample.assume_init()
        started = time.monotonic_ns()
        stamp(view)
        sample.send()
        self._notifier.notify()
        return time.monotonic_ns() - started

    def close(self) -> None:
        pass

    @staticmethod
    def reader(name: str) -> Iterator[Callable[[], int]]:
        import iceoryx2 as iox2

        iox2.set_log_level(iox2.LogLevel.Fatal)
        node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        publish, event = Iceoryx._services(iox2, node, name)
        subscriber = publish.subscriber_builder().create()
        listener = event.listener_builder().create()

        def take() -> int:
            while True:
                listener.timed_wait(iox2.Duration.from_secs(10))
                newest = None
                while (sample := subscriber.receive()) is not None:
                    newest = sample
                if newest is not None:
                    address = newest.payload().as_ptr()
                    view = np.frombuffer((ctypes.c_uint8 * PAYLOAD_BYTES).from_address(address), np.uint8)
                    return int(view[:8].view(np.int64)[0])

        yield take


class Zenoh:
    """zenoh with its shared-memory transport; its Python binding gives no view of a buffer, only copies."""

    copies = "one, one a reader"
    endpoint = "unixsock-stream//tmp/depthd-benchmark-{name}.zenoh"

    def __init__(self, name: str, readers: int) -> None:
        import zenoh

        self._session = zenoh.open(self._config(zenoh, name, "listen"))
        self._publisher = self._session.declare_publisher(
            name, congestion_control=zenoh.CongestionControl.DROP, express=True
        )
        self._provider = zenoh.shm.ShmProvider.default_backend(12 * PAYLOAD_BYTES)
        self._policy = zenoh.shm.BlockOn(zenoh.shm.GarbageCollect())
        self._payload = bytearray(PAYLOAD_BYTES)

    @classmethod
    def _config(cls, zenoh: Any, name: str, side: str) -> Any:
        config = zenoh.Config()
        config.insert_json5("mode", '"peer"')
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5(f"{side}/endpoints", f'["{cls.endpoint.format(name=name)}"]')
        config.insert_json5("transport/shared_memory/enabled", "true")
        return config

    def publish(self, fill: Callable[..., None] | None) -> int:
        if fill is not None:
            view = np.frombuffer(self._payload, np.uint8)
            fill(view[: PIXELS * 4].view(np.float32), view[PIXELS * 4 :])
        buffer = self._provider.alloc(PAYLOAD_BYTES, policy=self._policy)
        started = time.monotonic_ns()
        stamp(self._payload)
        buffer[0:PAYLOAD_BYTES] = self._payload
        self._publisher.put(buffer)
        return time.monotonic_ns() - started

    def close(self) -> None:
        self._session.close()

    @staticmethod
    def reader(name: str) -> Iterator[Callable[[], int]]:
        import zenoh

        session = zenoh.open(Zenoh._config(zenoh, name, "connect"))
        subscriber = session.declare_subscriber(name, zenoh.handlers.RingChannel(1))

        def take() -> int:
            payload = subscriber.recv().payload
            if (shared := payload.as_shm()) is not None:
                return int(np.frombuffer(bytes(shared), np.int64, 1)[0])
            return int(np.frombuffer(payload.to_bytes(), np.int64, 1)[0])

        yield take
        session.close()


class UnixSocket:
    """A Unix stream socket to each reader; the pixels are copied into the kernel and out of it."""

    copies = "two a reader"

    def __init__(self, name: str, readers: int) -> None:
        self._path = SOCKET_FOLDER / f"{name}.socket"
        self._readers = readers
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self._path))
        self._server.listen(64)
        self._connections: list[socket.socket] = []
        self._payload = np.zeros(PAYLOAD_BYTES, np.uint8)

    def accept(self) -> None:
        while len(self._connections) < self._readers:
            self._connections.append(self._server.accept()[0])

    def publish(self, fill: Callable[..., None] | None) -> int:
        if fill is not None:
            fill(self._payload[: PIXELS * 4].view(np.float32), self._payload[PIXELS * 4 :])
        started = time.monotonic_ns()
        stamp(self._payload)
        for connection in self._connections:
            connection.sendall(self._payload)
        return time.monotonic_ns() - started

    def close(self) -> None:
        for connection in (*self._connections, self._server):
            connection.close()
        self._path.unlink()

    @staticmethod
    def reader(name: str) -> Iterator[Callable[[], int]]:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(SOCKET_FOLDER / f"{name}.socket"))
        buffer = np.zeros(PAYLOAD_BYTES, np.uint8)

        def take() -> int:
            view = memoryview(buffer)
            while view:
                got = connection.recv_into(view)
                if got == 0:
                    raise EOFError
                view = view[got:]
            return int(buffer[:8].view(np.int64)[0])

        yield take


class Pipe:
    """multiprocessing.connection over a Unix socket: what `multiprocessing.Pipe` is, and Python's first
    choice.
    """

    copies = "three a reader"

    def __init__(self, name: str, readers: int) -> None:
        self._readers = readers
        self._listener = multiprocessing.connection.Listener(str(SOCKET_FOLDER / f"{name}.pipe"), backlog=64)
        self._connections: list[Any] = []
        self._payload = np.zeros(PAYLOAD_BYTES, np.uint8)

    def accept(self) -> None:
        while len(self._connections) < self._readers:
            self._connections.append(self._listener.accept())

    def publish(self, fill: Callable[..., None] | None) -> int:
        if fill is not None:
            fill(self._payload[: PIXELS * 4].view(np.float32), self._payload[PIXELS * 4 :])
        started = time.monotonic_ns()
        stamp(self._payload)
        for connection in self._connections:
            connection.send_bytes(self._payload)
        return time.monotonic_ns() - started

    def close(self) -> None:
        for connection in (*self._connections, self._listener):
            connection.close()

    @staticmethod
    def reader(name: str) -> Iterator[Callable[[], int]]:
        connection = multiprocessing.connection.Client(str(SOCKET_FOLDER / f"{name}.pipe"))

        def take() -> int:
            return int(np.frombuffer(connection.recv_bytes(), np.int64, 1)[0])

        yield take


TRANSPORTS: dict[str, Any] = {
    "depthd, Python": Depthd,
    "depthd, C": Depthd,
    "iceoryx2, Python": Iceoryx,
    "zenoh, Python": Zenoh,
    "Unix socket": UnixSocket,
    "multiprocessing.Pipe": Pipe,
}


def build_c_reader(folder: Path) -> Path:
    """The C reader of this benchmark. Raises CalledProcessError without a compiler."""
    from depthd import paths

    program = folder / f"depthd-shm-reader-{os.getpid()}"
    source = Path(__file__).with_name("shm_reader.c")
    subprocess.run(["cc", "-O2", *paths.cflags().split(), str(source), "-o", str(program)], check=True)
    return program


def read(transport: str, name: str, seconds: float) -> list[int]:
    """Latencies in nanoseconds of the frames that arrive within `seconds` of the first."""
    latencies: list[int] = []
    for take in TRANSPORTS[transport].reader(name):
        take()
        until = time.monotonic_ns() + int(seconds * 1e9)
        with contextlib.suppress(EOFError, ConnectionError, OSError):
            while (now := time.monotonic_ns()) < until:
                published = take()
                now = time.monotonic_ns()
                latencies.append(now - published)
    return latencies
