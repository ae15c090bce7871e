"""Whatever bytes lie in an object, a reader ends in a clear error or reads inside the mapping."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import depthd
from depthd.config import SharedMemoryConfig
from depthd.errors import DepthdError
from depthd.frame import Camera, Fit, FusionResult, StageTimes, StereoFrame
from depthd.shm.layout import HEADER
from depthd.shm.publisher import Publisher

CAMERA = Camera(24, 16, 50.0, 50.0, 12.0, 8.0, 0.1)
FIELDS = {name: (int(field[1]), field[0].itemsize) for name, field in HEADER.fields.items()}
PLANES = FIELDS["planes"][0]

nasty_numbers = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 2, 3, 63, 64, 65, 4095, 4096, 2**31, 2**32 - 1, 2**63, 2**64 - 64, 2**64 - 1]),
    st.integers(0, 200_000),
)
header_offsets = st.one_of(
    st.sampled_from([offset for name, (offset, size) in FIELDS.items() if size <= 8]),
    st.integers(PLANES, PLANES + 6 * 64).map(lambda offset: offset // 4 * 4),
    st.integers(0, 4096 + 4 * 1024).map(lambda offset: offset // 4 * 4),
)
changes = st.lists(st.tuples(header_offsets, st.sampled_from("IQ"), nasty_numbers), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def good_object() -> bytes:
    name = f"depthd-test-{os.getpid()}-good"
    with Publisher(SharedMemoryConfig(slots=3), name, CAMERA, "camera") as publisher:
        for index in range(4):
            with publisher.slot() as slot:
                frame = StereoFrame(index, 1, 1, CAMERA, None)
                slot.describe(frame, FusionResult(Fit(), (0,) * 6), StageTimes(1))
        return Path("/dev/shm", name).read_bytes()


def apply(data: bytearray, change: tuple[int, str, int]) -> None:
    offset, kind, number = change
    mask = 2**32 - 1 if kind == "I" else 2**64 - 1
    if offset + struct.calcsize(kind) <= len(data):
        struct.pack_into(f"={kind}", data, offset, number & mask)


def use(reader: depthd.Reader) -> None:
    """Touches everything that a frame offers."""
    for frame in (reader.latest(), _wait_briefly(reader)):
        if frame is None:
            continue
        for plane in ("depth", "source", "sigma", "left", "stereo_depth", "mono", "xyz"):
            view = frame._planes.get(plane)
            if view is not None:
                np.add.reduce(view.reshape(-1)[:: max(1, view.size // 64)].astype(np.float64))
                view[-1, -1].tobytes()
        assert None not in (frame.timestamps, frame.fit, frame.camera, frame.state)
        assert len(frame.pixels_per_source) == 6
        frame.valid()
    assert reader.header is not None


def _wait_briefly(reader: depthd.Reader) -> depthd.Frame | None:
    try:
        return reader.wait(timeout=0.0)
    except depthd.shm.errors.Timeout:
        return None


def test_the_unchanged_object_is_read(good_object: bytes, name: str) -> None:
    Path("/dev/shm", name).write_bytes(good_object)
    with depthd.open(name) as reader:
        use(reader)
        assert reader.latest().camera_index == 3


relaxed = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)


@relaxed
@given(changes=changes)
def test_a_changed_object_is_read_inside_the_mapping_or_refused(
    changes: list[tuple[int, str, int]], good_object: bytes, name: str
) -> None:
    data = bytearray(good_object)
    for change in changes:
        apply(data, change)
    Path("/dev/shm", name).write_bytes(data)
    with suppress(DepthdError), depthd.open(name) as reader:
        use(reader)


@relaxed
@given(length=st.integers(0, 90_000), changes=changes)
def test_a_short_object_is_refused(
    length: int, changes: list[tuple[int, str, int]], good_object: bytes, name: str
) -> None:
    data = bytearray(good_object[: min(length, len(good_object) - 1)])
    Path("/dev/shm", name).write_bytes(data)
    with pytest.raises(DepthdError):
        depthd.open(name)


@relaxed
@given(changes=changes)
def test_an_object_that_changes_under_an_attached_reader_never_leads_it_outside(
    changes: list[tuple[int, str, int]], good_object: bytes, name: str
) -> None:
    path = Path("/dev/shm", name)
    path.write_bytes(good_object)
    with depthd.open(name) as reader:
        for offset, kind, number in changes:
            mask = 2**32 - 1 if kind == "I" else 2**64 - 1
            _patch(path, offset, struct.pack(f"={kind}", number & mask))
        with suppress(DepthdError):
            use(reader)


def _patch(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
