"""What a publisher promises, with a reader in the same process to look at it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import depthd
from depthd import _shm
from depthd.config import SharedMemoryConfig
from depthd.errors import DepthdError
from depthd.frame import Camera, Fit, FitStatus, FusionResult, Source, StageTimes, StereoFrame
from depthd.shm.errors import DamagedObject, NotRunning, Overwritten, WrongVersion
from depthd.shm.layout import HEADER, SLOT_META, CameraState, PlaneId, structure_dtype
from depthd.shm.publisher import Publisher, Slot

CAMERA = Camera(64, 48, 50.0, 51.0, 31.5, 23.5, 0.12, 1.25)
FIT = Fit(0.5, 0.01, 0.03, 0.9, 0.97, 4096, 2, FitStatus.HELD)


def start(name: str, camera: Camera = CAMERA, **options: object) -> Publisher:
    return Publisher(SharedMemoryConfig(**options), name, camera, "a camera")


def describe(slot: Slot, index: int) -> None:
    frame = StereoFrame(index, 1000 + index, 77, CAMERA, None)
    slot.describe(frame, FusionResult(FIT, (1, 2, 3, 4, 5, 6)), StageTimes(10, 20, 30, 40, 50), dropped=9)


def publish(publisher: Publisher, index: int, depth_m: float = 1.0) -> None:
    with publisher.slot() as slot:
        slot.planes.depth_m[...] = depth_m
        describe(slot, index)


def patch(name: str, field: str, value: bytes) -> None:
    fields = HEADER.fields
    assert fields is not None
    with open(f"/dev/shm/{name}", "r+b") as file:
        file.seek(fields[field][1])
        file.write(value)


def leave_dead_object(name: str) -> None:
    start(name, keep_after_exit=True).close()


def test_a_camera_that_comes_back_as_another_is_in_the_header_whole(name: str) -> None:
    other = Camera(64, 48, 70.0, 71.0, 30.5, 22.5, 0.06)
    with start(name) as publisher, depthd.open(name) as reader:
        publish(publisher, 1)
        before = reader.wait(timeout=5.0).writer_id
        cameras = {CAMERA.fx: (CAMERA.fy, b"a camera"), other.fx: (other.fy, b"another camera")}
        found = set()
        for turn in range(2000):
            camera = (CAMERA, other)[turn % 2]
            publisher.set_camera(camera, cameras[camera.fx][1].decode())
            header = reader.header
            assert cameras[header["camera"]["fx"]] == (header["camera"]["fy"], header["description"])
            found.add(float(header["camera"]["fx"]))
        assert found == set(cameras)
        publish(publisher, 2)
        assert reader.wait(timeout=5.0).writer_id == before, "it is no takeover"


def test_a_reader_gets_all_that_was_published(name: str) -> None:
    with (
        start(name, planes=("left", "stereo_depth", "mono", "xyz")) as publisher,
        depthd.open(name) as reader,
    ):
        assert reader.latest() is None
        publisher.set_state(CameraState.RUNNING)
        values = {"left": 3, "stereo_depth": 4.5, "mono": 6.5}
        with publisher.slot() as slot:
            slot.planes.depth_m[...], slot.planes.source[...], slot.planes.sigma[...] = 2.0, 1, 0.25
            for plane, value in values.items():
                slot.plane(plane)[...] = value
            describe(slot, 5)
        frame = reader.wait(timeout=5.0)
        assert (frame.id, frame.camera_index, frame.dropped, frame.picture_clock_ns) == (1, 5, 9, 77)
        assert frame.fit == FIT
        assert frame.camera == CAMERA
        assert frame.pixels_per_source == (1, 2, 3, 4, 5, 6)
        assert frame.state == CameraState.RUNNING
        times = frame.timestamps
        assert times == StageTimes(10, 20, 30, 40, 50, times.published_ns)
        assert 0 < times.published_ns <= time.monotonic_ns()
        for plane, value in {"depth": 2.0, "source": 1, "sigma": 0.25, **values}.items():
            assert (getattr(frame, plane) == value).all(), plane
        assert frame.valid()


def test_points_are_where_the_camera_model_puts_them(name: str) -> None:
    with start(name, planes=("xyz",)) as publisher, depthd.open(name) as reader:
        depth = np.random.default_rng(0).uniform(0.5, 9.0, (48, 64)).astype(np.float32)
        depth[3, 4], depth[5, 6] = np.nan, np.inf
        with publisher.slot() as slot:
            slot.planes.depth_m[...] = depth
            describe(slot, 0)
        frame = reader.wait(timeout=5.0)
        y, x = np.mgrid[:48, :64]
        z = np.where(np.isfinite(depth), depth, np.nan)
        wanted = np.stack([(x - CAMERA.cx) / CAMERA.fx * z, (y - CAMERA.cy) / CAMERA.fy * z, z], axis=-1)
        np.testing.assert_allclose(frame.xyz, wanted, rtol=1e-5, atol=1e-6)


def test_planes_that_are_not_configured_are_absent_on_both_sides(name: str) -> None:
    with start(name, planes=()) as publisher, depthd.open(name) as reader:
        with publisher.slot() as slot:
            assert slot.plane("left") is None
            describe(slot, 0)
        frame = reader.wait(timeout=5.0)
        assert (frame.left, frame.stereo_depth, frame.mono, frame.xyz) == (None, None, None, None)


def test_mono_has_a_size_of_its_own(name: str) -> None:
    config = SharedMemoryConfig(planes=("mono",))
    with (
        Publisher(config, name, CAMERA, "test", mono_size=(14, 28)) as publisher,
        depthd.open(name) as reader,
    ):
        publish(publisher, 0)
        mono = reader.wait(timeout=5.0).mono
        assert mono is not None
        assert mono.shape == (14, 28)


def test_a_readers_memory_is_the_whole_object_and_its_views_lie_in_it(name: str) -> None:
    with start(name) as publisher, depthd.open(name) as reader:
        publish(publisher, 0)
        memory = reader.memory
        assert memory.nbytes == os.stat(f"/dev/shm/{name}").st_size
        assert bytes(memory[:8]) == b"DEPTHDSM"
        assert not memory.flags.writeable
        assert np.shares_memory(memory, reader.wait(timeout=5.0).depth)


def test_views_are_read_only_and_writing_slots_makes_no_new_arrays(name: str) -> None:
    with start(name) as publisher, depthd.open(name) as reader:
        seen = set()
        for index in range(12):
            with publisher.slot() as slot:
                seen.add(id(slot.planes.depth_m))
                describe(slot, index)
        assert len(seen) == 4
        frame = reader.wait(timeout=5.0)
        with pytest.raises(ValueError, match="read-only"):
            frame.depth[0, 0] = 1.0


def test_a_frame_is_valid_until_the_writer_comes_round(name: str) -> None:
    with start(name, slots=3) as publisher, depthd.open(name) as reader:
        publish(publisher, 0, depth_m=5.0)
        frame = reader.wait(timeout=5.0)
        kept = frame.copy()
        for index in (1, 2):
            publish(publisher, index)
            assert frame.valid()
        with publisher.slot() as slot:
            assert not frame.valid()  # already while it is being written
            describe(slot, 3)
        assert not frame.valid()
        with pytest.raises(Overwritten):
            frame.copy()
        assert kept.valid()
        assert (kept.depth == 5.0).all()


def test_the_newest_frame_is_never_the_one_that_is_written(name: str) -> None:
    with start(name, slots=3) as publisher, depthd.open(name) as reader:
        for index in range(10):
            publish(publisher, index)
            with suppress(KeyError), publisher.slot() as slot:
                newest = reader.latest()
                assert newest is not None
                assert newest.camera_index == index
                assert not np.shares_memory(newest.depth, slot.planes.depth_m)
                raise KeyError
            assert newest.valid()


def test_an_exception_in_a_slot_publishes_nothing(name: str) -> None:
    with start(name) as publisher, depthd.open(name) as reader:
        publish(publisher, 0)
        before = reader.wait(timeout=5.0)
        with suppress(KeyError), publisher.slot() as slot:
            describe(slot, 1)
            raise KeyError("fusion failed")
        assert reader.latest().id == before.id
        publish(publisher, 2)
        after = reader.wait(timeout=5.0)
        assert (after.camera_index, after.id) == (2, before.id + 1)


def test_a_slot_that_was_not_described_is_not_published(name: str) -> None:
    with start(name) as publisher, depthd.open(name) as reader:
        publish(publisher, 0)
        with pytest.raises(RuntimeError, match="describe"), publisher.slot():
            pass
        assert reader.latest().camera_index == 0


def test_a_dead_writers_object_is_taken_over_with_its_ids(name: str) -> None:
    with start(name, keep_after_exit=True) as first:
        publish(first, 0)
        publish(first, 1)
    inode = os.stat(f"/dev/shm/{name}").st_ino
    with depthd.open(name) as reader, start(name) as second:
        assert os.stat(f"/dev/shm/{name}").st_ino == inode
        publish(second, 0)
        assert reader.wait(timeout=5.0).id == 3
    assert not Path("/dev/shm", name).exists()


def test_wait_gives_no_frame_that_a_dead_writer_left_but_latest_does(name: str) -> None:
    with start(name, keep_after_exit=True) as first:
        publish(first, 0)
    with depthd.open(name) as reader:
        with pytest.raises(depthd.shm.errors.WriterDied):
            reader.wait(timeout=0.01)
        assert reader.latest().id == 1
    with start(name), depthd.open(name) as reader, pytest.raises(depthd.shm.errors.Timeout):
        reader.wait(timeout=0.01)


def test_views_of_a_closed_publisher_stay_safe_and_the_name_is_free(name: str) -> None:
    publisher = start(name, keep_after_exit=True)
    with publisher.slot() as slot:
        depth = slot.planes.depth_m
        describe(slot, 0)
    publisher.close()
    publisher.close()
    depth[...] = 1.0
    start(name).close()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_the_mode_is_the_configured_one_whatever_the_umask(name: str, mode: int) -> None:
    old = os.umask(0o077)
    try:
        with start(name, mode=mode):
            assert os.stat(f"/dev/shm/{name}").st_mode & 0o777 == mode
    finally:
        os.umask(old)


def test_a_foreign_file_is_refused_by_both_sides_and_left_alone(name: str) -> None:
    path = Path("/dev/shm", name)
    path.write_bytes(b"somebody's data" * 1000)
    with pytest.raises(DepthdError, match="is not depthd's"):
        start(name)
    with pytest.raises(DamagedObject, match="not depthd's"):
        depthd.open(name)
    assert path.read_bytes() == b"somebody's data" * 1000


def test_a_symbolic_link_is_refused_by_both_sides(name: str, tmp_path: Path) -> None:
    leave_dead_object(name)
    link = f"{name}.link"
    os.symlink(f"/dev/shm/{name}", f"/dev/shm/{link}")
    try:
        with pytest.raises(DepthdError, match="symbolic link"):
            start(link)
        with pytest.raises(DamagedObject):
            depthd.open(link)
    finally:
        os.unlink(f"/dev/shm/{link}")


def test_another_version_is_refused_by_readers_and_replaced_by_its_owner(name: str) -> None:
    leave_dead_object(name)
    patch(name, "version_major", (2).to_bytes(2, "little"))
    with pytest.raises(WrongVersion, match="another major version"):
        depthd.open(name)
    with start(name) as publisher, depthd.open(name) as reader:
        publish(publisher, 0)
        assert reader.wait(timeout=5.0).valid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_an_object_of_another_user_is_refused(name: str) -> None:
    leave_dead_object(name)
    os.chown(f"/dev/shm/{name}", 4242, 4242)
    with pytest.raises(DepthdError, match="left by another user"):
        start(name)


def test_a_readers_lock_does_not_keep_a_writer_from_starting(name: str) -> None:
    leave_dead_object(name)
    with open(f"/dev/shm/{name}", "rb") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        with depthd.open(name) as reader, start(name) as publisher:
            assert not reader.writer_lives
            publish(publisher, 0)
            assert reader.wait(timeout=5.0).id == 1


def test_an_object_removed_by_hand_is_found_again_under_its_name(name: str) -> None:
    with start(name) as first, depthd.open(name) as reader:
        publish(first, 0)
        reader.wait(timeout=5.0)
        os.unlink(f"/dev/shm/{name}")
        with start(name) as second:
            publish(second, 7)
            assert reader.wait(timeout=10.0).camera_index == 7


def test_too_large_an_object_is_one_clear_line(name: str) -> None:
    huge = Camera(60000, 60000, 1.0, 1.0, 0.0, 0.0, 0.1)
    with pytest.raises(DepthdError, match="no room in /dev/shm/"):
        start(name, huge, slots=64)
    assert not Path("/dev/shm", name).exists()


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a b", "x" * 65, "ü"])
def test_a_bad_name_is_refused(bad: str) -> None:
    with pytest.raises(DepthdError):
        start(bad)
    with pytest.raises(DepthdError):
        depthd.open(bad)


def test_a_name_that_nobody_uses_is_not_running(name: str) -> None:
    with pytest.raises(NotRunning, match="start depthd"):
        depthd.open(name)


def test_a_reader_needs_numpy_and_nothing_else() -> None:
    code = """
import sys, sysconfig
import depthd
own = ("depthd", "numpy")
files = {m: str(getattr(module, "__file__", "")) for m, module in sys.modules.items()}
outside = {m.partition(".")[0] for m in files if "site-packages" in files[m]}
print(sorted(m for m in outside if not m.startswith(own) and not m.startswith("_")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_closed_reader_says_so(name: str) -> None:
    with start(name):
        reader = depthd.open(name)
        reader.close()
        reader.close()
        with pytest.raises(ValueError, match="closed"):
            reader.wait(timeout=0.0)


def test_numbers_of_the_wire_are_those_of_the_frame() -> None:
    constants = _shm.constants()
    for source in Source:
        assert constants[f"SOURCE_{source.name}"] == source
    for status in FitStatus:
        assert constants[f"FIT_{status.name}"] == status
    assert len(Source) <= constants["SOURCES_MAX"]


def test_the_configuration_can_ask_for_every_optional_plane(name: str) -> None:
    optional = tuple(plane.name.lower() for plane in PlaneId if plane > PlaneId.SIGMA)
    with start(name, planes=optional) as publisher, publisher.slot() as slot:
        assert all(slot.plane(plane) is not None for plane in optional)
        describe(slot, 0)


def test_structures_fill_whole_cache_lines_and_pixels_start_on_pages(name: str) -> None:
    for structure in ("header", "slot_meta", "camera", "plane", "fit", "times", "pose"):
        assert structure_dtype(structure).itemsize % 64 == 0
    assert (HEADER.itemsize, SLOT_META.itemsize) == (4096, 1024)
    with start(name), depthd.open(name) as reader:
        header, page = reader.header, os.sysconf("SC_PAGESIZE")
        offsets = [int(plane["offset"]) for plane in header["planes"][: int(header["plane_count"])]]
        assert all(value % page == 0 for value in (*offsets, int(header["data_offset"]), int(header["slot_bytes"])))
