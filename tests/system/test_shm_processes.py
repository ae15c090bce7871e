"""Writers and readers as they are: processes that run, crash, restart and are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import depthd
from depthd.config import SharedMemoryConfig
from depthd.errors import DepthdError
from depthd.frame import Camera, Fit, FusionResult, StageTimes, StereoFrame
from depthd.shm.errors import NotRunning, Timeout, WriterDied
from depthd.shm.layout import CameraState
from depthd.shm.publisher import Publisher

HERE = Path(__file__).parent
StartWriter = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def small_camera() -> Camera:
    return Camera(64, 48, 50.0, 50.0, 32.0, 24.0, 0.1)


@pytest.fixture
def start_writer(name: str) -> Iterator[StartWriter]:
    """Starts a writer process and waits until it is attached."""
    processes: list[subprocess.Popen[str]] = []

    def start(width: int = 64, height: int = 48, slots: int = 4, frames: int = 0, period_s: float = 0.0):
        arguments = [name, width, height, slots, frames, period_s]
        process = subprocess.Popen(
            [sys.executable, HERE / "shm_writer_process.py", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != "attached\n":
            assert process.stderr is not None
            pytest.fail(f"writer did not start: {process.stderr.read()}")
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def publish(publisher: Publisher, camera: Camera, index: int) -> None:
    frame = StereoFrame(index, time.monotonic_ns(), 0, camera, None)
    with publisher.slot() as slot:
        slot.describe(frame, FusionResult(Fit(), (index, 0, 0, 0, 0, 0)), StageTimes(frame.captured_ns))


def test_no_reader_accepts_a_torn_frame(name: str, start_writer: StartWriter) -> None:
    start_writer(width=96, height=64, slots=3)
    readers = [
        subprocess.Popen(
            [sys.executable, HERE / "shm_reader_process.py", name, "2000"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    seen = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]
    assert [reader["torn"] for reader in seen] == [0, 0, 0]
    assert [reader["accepted"] for reader in seen] == [2000, 2000, 2000]
    assert sum(reader["caught"] for reader in seen) > 0  # there was something to accept wrongly


def test_a_reader_attached_before_a_crash_goes_on_after_it(name: str, start_writer: StartWriter) -> None:
    writer = start_writer(width=96, height=64, slots=3)
    inode = os.stat(f"/dev/shm/{name}").st_ino
    with depthd.open(name) as reader:
        last = reader.wait(timeout=10.0)
        for _ in range(4):
            time.sleep(random.uniform(0.0, 0.02))  # a kill at any moment, also in the middle of a frame
            kill(writer)
            before = reader.latest()
            assert before is not None
            assert before.valid()
            assert before.id >= last.id
            with pytest.raises(WriterDied):
                reader.wait(timeout=0.05)
            writer = start_writer(width=96, height=64, slots=3)
            last = reader.wait(timeout=10.0)
            assert last.id > before.id
            assert last.writer_id != before.writer_id
        assert os.stat(f"/dev/shm/{name}").st_ino == inode


def test_readers_accept_no_torn_frame_while_writers_are_killed(name: str, start_writer: StartWriter) -> None:
    writer = start_writer(width=96, height=64, slots=3)
    reader = subprocess.Popen(
        [sys.executable, HERE / "shm_reader_process.py", name, "3000"], stdout=subprocess.PIPE, text=True
    )
    for _ in range(3):
        time.sleep(random.uniform(0.0, 0.05))
        kill(writer)
        writer = start_writer(width=96, height=64, slots=3)
    seen = json.loads(reader.communicate(timeout=60)[0])
    assert seen["torn"] == 0
    assert seen["accepted"] == 3000


def test_a_reader_follows_a_writer_that_comes_back_with_another_size(name: str, start_writer: StartWriter) -> None:
    writer = start_writer(width=64, height=48)
    with depthd.open(name) as reader:
        old = reader.wait(timeout=10.0)
        kill(writer)
        start_writer(width=80, height=40)
        while (frame := reader.wait(timeout=10.0)).depth.shape == (48, 64):
            pass
        assert frame.depth.shape == (40, 80)
        assert (frame.camera.width, frame.camera.height) == (80, 40)
        assert old.depth.shape == (48, 64)
        assert int(old.source[-1, -1]) >= 0  # what was mapped stays readable


def test_a_reader_follows_a_writer_that_stopped_and_started_again(name: str, start_writer: StartWriter) -> None:
    writer = start_writer(frames=1)
    with depthd.open(name) as reader:
        reader.wait(timeout=10.0)
        writer.communicate("", timeout=10)
        assert not Path("/dev/shm", name).exists()
        with pytest.raises(NotRunning):
            reader.wait(timeout=0.1)
        with pytest.raises(NotRunning):
            depthd.open(name)
        start_writer(frames=1)
        assert reader.wait(timeout=10.0).valid()


def test_a_name_held_by_a_living_writer_is_refused_and_its_frames_go_on(
    name: str, start_writer: StartWriter, small_camera: Camera
) -> None:
    writer = start_writer(period_s=0.01)
    with pytest.raises(DepthdError, match=f"in use by a running writer \\(process {writer.pid}\\)"):
        Publisher(SharedMemoryConfig(), name, small_camera, "second")
    with depthd.open(name) as reader:
        first = reader.wait(timeout=10.0)
        assert reader.wait(timeout=10.0).id > first.id


def test_a_stopped_but_living_writer_is_not_taken_for_a_dead_one(
    name: str, start_writer: StartWriter, small_camera: Camera
) -> None:
    writer = start_writer(period_s=0.01)
    with depthd.open(name) as reader:
        reader.wait(timeout=10.0)
        os.kill(writer.pid, signal.SIGSTOP)
        try:
            reader.latest()
            with pytest.raises(Timeout) as caught:
                reader.wait(timeout=0.2)
            assert not isinstance(caught.value, WriterDied)
            with pytest.raises(DepthdError, match="running writer"):
                Publisher(SharedMemoryConfig(), name, small_camera, "second")
        finally:
            os.kill(writer.pid, signal.SIGCONT)


def test_a_forked_child_does_not_pass_for_a_living_writer(name: str, small_camera: Camera) -> None:
    code = f"""
import os, sys, time
from depthd.config import SharedMemoryConfig
from depthd.frame import Camera
from depthd.shm.publisher import Publisher
publisher = Publisher(SharedMemoryConfig(), {name!r}, Camera(64, 48, 50.0, 50.0, 32.0, 24.0, 0.1), "parent")
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        kill(parent)
        os.kill(child, 0)  # the child lives
        with Publisher(SharedMemoryConfig(), name, small_camera, "successor") as publisher:
            publish(publisher, small_camera, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_a_forked_child_that_ends_leaves_its_parents_frames_alone(name: str, small_camera: Camera) -> None:
    with Publisher(SharedMemoryConfig(), name, small_camera, "parent") as publisher:
        code = f"""
import os
from depthd.config import SharedMemoryConfig
from depthd.frame import Camera
from depthd.shm.publisher import Publisher
camera = Camera(64, 48, 50.0, 50.0, 32.0, 24.0, 0.1)
publisher = Publisher(SharedMemoryConfig(), {name + "-fork"!r}, camera, "parent")
if os.fork() == 0:
    try:
        publisher.set_state(3)
    except RuntimeError as error:
        print(error, flush=True)
    publisher.close()
    raise SystemExit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]), os.path.exists("/dev/shm/{name}-fork"), flush=True)
publisher.close()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
        publish(publisher, small_camera, 0)
    said = "a publisher belongs to the process that made it, not to its fork"
    assert done.stdout.splitlines() == [said, "0 True"], done.stderr
    assert not Path(f"/dev/shm/{name}-fork").exists()


def test_every_one_of_many_waiting_readers_is_woken(name: str, small_camera: Camera) -> None:
    """More than the publishing thread wakes itself."""
    readers = 12
    ready, seen = threading.Barrier(readers + 1), []

    def wait_for_a_frame() -> None:
        with depthd.open(name) as reader:
            ready.wait()
            seen.append(reader.wait(timeout=20.0).camera_index)

    with Publisher(SharedMemoryConfig(), name, small_camera, "test") as publisher:
        threads = [threading.Thread(target=wait_for_a_frame) for _ in range(readers)]
        for thread in threads:
            thread.start()
        ready.wait()
        time.sleep(0.2)  # until they sleep
        publish(publisher, small_camera, 7)
        for thread in threads:
            thread.join()
    assert seen == [7] * readers


def test_of_writers_that_start_together_exactly_one_gets_the_name(name: str) -> None:
    command = [sys.executable, HERE / "shm_writer_process.py", name, "64", "48", "4", "1", "0"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
    first_lines = [writer.stdout.readline() for writer in writers]
    errors = [writer.communicate("")[1] for writer in writers]
    assert sorted(first_lines) == ["", "", "", "attached\n"]
    assert sum("in use by a running writer" in error for error in errors) == 3


def test_a_waiting_reader_sleeps_until_it_is_woken(name: str, small_camera: Camera) -> None:
    """Neither polling nor Python's lock: another thread of the same process publishes meanwhile."""
    waiting, result = threading.Event(), {}

    def wait_for_a_frame() -> None:
        status = Path(f"/proc/self/task/{threading.get_native_id()}/status")

        def switches() -> int:
            return int(status.read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])

        with depthd.open(name) as reader:
            before = switches()
            waiting.set()
            result["frame"] = reader.wait(timeout=20.0)
            result["switches"] = switches() - before

    with Publisher(SharedMemoryConfig(), name, small_camera, "test") as publisher:
        thread = threading.Thread(target=wait_for_a_frame)
        thread.start()
        waiting.wait()
        time.sleep(0.5)
        publish(publisher, small_camera, 1)
        thread.join()
    assert result["frame"].camera_index == 1
    assert result["switches"] < 10  # polling every 10 ms would have made fifty


def test_control_c_ends_a_wait(name: str, start_writer: StartWriter) -> None:
    start_writer(frames=1)
    code = f"import depthd\nr = depthd.open({name!r})\nr.wait()\nprint('waiting', flush=True)\nr.wait()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors


def test_a_state_reaches_readers_without_a_frame(name: str, small_camera: Camera) -> None:
    with (
        Publisher(SharedMemoryConfig(), name, small_camera, "test") as publisher,
        depthd.open(name) as reader,
    ):
        assert reader.state == CameraState.OPENING
        publisher.set_state(CameraState.LOST)
        publisher.count(reconnects=2, dropped=3)
        assert reader.state == CameraState.LOST
        assert (int(reader.header["reconnects"]), int(reader.header["dropped"])) == (2, 3)


def test_a_user_without_permission_gets_a_clear_error(name: str, small_camera: Camera) -> None:
    config = SharedMemoryConfig(mode=0o600)
    with Publisher(config, name, small_camera, "test"):
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            else:
                os.chmod(f"/dev/shm/{name}", 0)
            try:
                depthd.open(name)
                os._exit(1)
            except depthd.shm.errors.PermissionDenied:
                os._exit(0)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
