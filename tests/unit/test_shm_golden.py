"""Objects of every released version are read for ever, those of newer minor versions as far as we know."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import depthd
from depthd.frame import Camera, Fit, FitStatus, StageTimes
from depthd.shm.errors import DamagedObject, WrongVersion
from depthd.shm.layout import DEVICE_COPY, DEVICE_COPY_OFFSET, DEVICE_CUDA, HEADER, SLOT_META, CameraState

GOLDEN = Path(__file__).parents[1] / "golden"
PLANES = ("depth", "source", "sigma", "left", "stereo_depth", "mono", "xyz")
Place = Callable[[bytes], str]


@pytest.fixture
def place() -> Iterator[Place]:
    """Puts the bytes of an object into /dev/shm and gives its name."""
    name = f"depthd-test-{os.getpid()}-{time.monotonic_ns()}"

    def write(data: bytes) -> str:
        Path("/dev/shm", name).write_bytes(data)
        return name

    yield write
    Path("/dev/shm", name).unlink(missing_ok=True)


@pytest.fixture(params=["shm_v1_0.gz", "shm_v1_1.gz"])
def golden(request: pytest.FixtureRequest) -> bytes:
    return gzip.decompress((GOLDEN / request.param).read_bytes())


def pattern(frame: int, plane: int, shape: tuple[int, ...]) -> np.ndarray:
    """As tests/golden/make_shm_object.py says it."""
    row, column, channel = np.ogrid[: shape[0], : shape[1], : shape[2] if len(shape) > 2 else 1]
    return (100 * frame + 10 * plane + row + column / 4 + channel / 2).reshape(shape)


def check_second_frame(frame: depthd.Frame) -> None:
    assert (frame.id, frame.camera_index, frame.picture_clock_ns, frame.dropped) == (2, 41, 123456790, 7)
    assert frame.state == CameraState.RUNNING
    assert frame.camera == Camera(8, 6, 7.5, 7.25, 3.5, 2.5, 0.12, 0.75)
    assert frame.fit == Fit(0.5, -0.25, 0.03125, 0.875, 0.96875, 4096, 3, FitStatus.HELD)
    assert frame.timestamps == StageTimes(1001, 2000, 3000, 4000, 5000, frame.timestamps.published_ns)
    assert frame.pixels_per_source == (1, 2, 3, 4, 5, 34)
    for number, plane in enumerate(PLANES):
        view = getattr(frame, plane)
        assert np.array_equal(view, pattern(1, number, view.shape).astype(view.dtype)), plane
    assert (frame.mono.shape, frame.xyz.shape, frame.left.dtype) == ((3, 5), (6, 8, 3), np.uint8)


def test_a_golden_object_is_read_whole(golden: bytes, place: Place) -> None:
    with depthd.open(place(golden)) as reader:
        check_second_frame(reader.latest())
        header = reader.header
        assert bytes(header["description"]).decode() == "golden camera é"
        assert bytes(header["software"]).startswith(b"depthd 0.1")
        assert [int(header[counter]) for counter in ("dropped", "deadline_misses", "reconnects")] == [4, 5, 6]
        assert reader.state == CameraState.RUNNING


def test_a_frames_copy_on_a_gpu_is_told_since_version_1_1(place: Place) -> None:
    for version, kind in (("1_0", 0), ("1_1", DEVICE_CUDA)):
        data = gzip.decompress((GOLDEN / f"shm_v{version}.gz").read_bytes())
        with depthd.open(place(data)) as reader:
            record = np.frombuffer(reader.latest()._raw, DEVICE_COPY, 1, DEVICE_COPY_OFFSET)[0]
        assert record["kind"] == kind
        if kind:
            assert (record["planes"], record["offset"], record["bytes"]) == (0b11111110, 1000, 5000)
            for field in ("uuid", "memory", "event"):
                assert np.array_equal(record[field], np.arange(record[field].size))


def grown(golden: bytes) -> bytearray:
    """The golden object as a newer minor version might write it: all longer, and one plane more."""
    old = np.frombuffer(golden, HEADER, 1)[0]
    header, meta, page = 8192, 2048, 4096
    data_offset, extra_plane = header + 2 * page, page
    slot_bytes = int(old["slot_bytes"]) + extra_plane
    count = int(old["slot_count"])
    new = bytearray(data_offset + count * slot_bytes)
    new[: HEADER.itemsize] = golden[: HEADER.itemsize]
    new[HEADER.itemsize : header] = b"\xa5" * (header - HEADER.itemsize)
    view = np.frombuffer(new, HEADER, 1)
    view["version_minor"], view["header_bytes"], view["total_bytes"] = 7, header, len(new)
    view["meta_offset"], view["meta_bytes"] = header, meta
    view["data_offset"], view["slot_bytes"] = data_offset, slot_bytes
    planes = int(old["plane_count"])
    view["plane_count"] = planes + 1
    extra = view["planes"][0][planes : planes + 1]
    extra["id"], extra["dtype"], extra["width"], extra["offset"] = 99, 77, 2**31, int(old["slot_bytes"])
    for slot in range(count):
        was = int(old["meta_offset"]) + slot * int(old["meta_bytes"])
        at = header + slot * meta
        new[at : at + SLOT_META.itemsize] = golden[was : was + SLOT_META.itemsize]
        was, size = int(old["data_offset"]) + slot * int(old["slot_bytes"]), int(old["slot_bytes"])
        at = data_offset + slot * slot_bytes
        new[at : at + size] = golden[was : was + size]
    return new


def test_a_newer_minor_version_is_read_as_far_as_it_is_known(golden: bytes, place: Place) -> None:
    with depthd.open(place(bytes(grown(golden)))) as reader:
        assert int(reader.header["version_minor"]) == 7
        check_second_frame(reader.latest())


def test_a_newer_major_version_and_the_other_byte_order_are_refused(golden: bytes, place: Place) -> None:
    data = bytearray(golden)
    np.frombuffer(data, HEADER, 1)["version_major"] = 2
    with pytest.raises(WrongVersion, match="major version"):
        depthd.open(place(bytes(data)))
    data = bytearray(golden)
    np.frombuffer(data, HEADER, 1)["byte_order"] = 0x04030201
    with pytest.raises(WrongVersion, match="byte order"):
        depthd.open(place(bytes(data)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plane_count", 17),
        ("slot_count", 2),
        ("slot_bytes", 2**63),
        ("meta_offset", 64),
        ("total_bytes", 2**62),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(golden: bytes, place: Place, field: str, value: int) -> None:
    data = bytearray(golden)
    np.frombuffer(data, HEADER, 1)[field] = value
    with pytest.raises(DamagedObject, match="contradicts itself"):
        depthd.open(place(bytes(data)))
