"""The writing side of the shared memory: one object per camera, a ring of slots, one writer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from depthd import _shm
from depthd.errors import DepthdError
from depthd.frame import Array, Camera, FusedPlanes, FusionResult, StageTimes, StereoFrame
from depthd.shm import segment
from depthd.shm.layout import (
    DEVICE_COPY,
    DEVICE_COPY_OFFSET,
    HEADER,
    METADATA_WRITE,
    METADATA_WRITE_OFFSET,
    RING_FIELDS,
    SOURCES,
    SOURCES_OFFSET,
    CameraState,
    PlaneId,
    PlaneView,
)

if TYPE_CHECKING:
    from depthd.config import SharedMemoryConfig

_ALWAYS = (PlaneId.DEPTH, PlaneId.SOURCE, PlaneId.SIGMA)


class Slot:
    """One place of the ring, to be filled. Its views are made once and write straight into the shared
    memory.
    """

    def __init__(self, index: int, views: dict[str, Array], metadata: Array) -> None:
        self.index = index
        self._views = views
        self._metadata = metadata
        self._device_copy = metadata[DEVICE_COPY_OFFSET:][: DEVICE_COPY.itemsize]
        self.device_copy: Array = np.zeros(DEVICE_COPY.itemsize, np.uint8)
        """What `describe` tells of the frame's copy on a GPU: a record DEVICE_COPY as bytes; zeros for none."""
        self.planes = FusedPlanes(views["depth"], views["source"], views["sigma"])
        """depth_m float32, source uint8, sigma float16, all (height, width)."""
        self.described = False

    def plane(self, name: str) -> Array | None:
        """The plane 'left' (uint8 (height, width, 3) BGR), 'stereo_depth', 'mono' (float32) or 'xyz'; None
        where the configuration does not ask for it.
        """
        return self._views.get(name)

    @property
    def views(self) -> dict[str, Array]:
        """All planes that the slot carries, by name."""
        return dict(self._views)

    def describe(
        self, frame: StereoFrame, result: FusionResult, times: StageTimes, dropped: int = 0, has_points: bool = False
    ) -> None:
        """Writes the metadata. dropped: frames lost since the start. has_points: the plane 'xyz', where there is one,
        is written already; otherwise it is made of the depth here. published_ns is stamped when the slot is left.
        """
        camera, fit = frame.camera, result.fit
        METADATA_WRITE.pack_into(
            self._metadata,
            METADATA_WRITE_OFFSET,
            frame.index,
            0,  # camera_state: stored on publishing
            0,  # flags
            dropped,
            frame.picture_clock_ns,
            times.captured_ns,
            times.grabbed_ns,
            times.matched_ns,
            times.inferred_ns,
            times.fused_ns,
            0,  # published_ns: stored on publishing
            camera.width,
            camera.height,
            camera.fx,
            camera.fy,
            camera.cx,
            camera.cy,
            camera.baseline_m,
            camera.doffs_px,
            fit.scale,
            fit.shift,
            fit.residual,
            fit.inlier_share,
            fit.pearson_r,
            fit.sample_count,
            fit.age_frames,
            fit.status,
        )
        SOURCES.pack_into(self._metadata, SOURCES_OFFSET, *result.pixels_per_source)
        self._device_copy[:] = self.device_copy
        xyz = self._views.get("xyz")
        if xyz is not None and not has_points:
            _shm.points_from_depth(self.planes.depth_m, xyz, camera.fx, camera.fy, camera.cx, camera.cy)
        self.described = True


class Publisher:
    """Publishes frames of one camera under a name in /dev/shm, after the protocol in
    kernels/include/depthd.h.

    Takes over the object of a dead writer. Raises DepthdError for a name held by a living one, for an object
    that is not depthd's, and for a full /dev/shm. To be used by one thread.

    mono_size: (height, width) of the plane 'mono' where the configuration asks for it; the camera's by
    default.
    """

    def __init__(
        self,
        config: SharedMemoryConfig,
        name: str,
        camera: Camera,
        description: str,
        mono_size: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self._keep_after_exit = config.keep_after_exit
        plan = _shm.Plan(config.slots, _plane_requests(config.planes, camera, mono_size))
        self._writer, self._inode = _start_writer(plan, name, config.mode, camera, description)
        self._slots = _make_slots(self._writer.buffer())
        self._closed = False

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """The oldest slot, to be filled and described; leaving the block publishes it and wakes the readers.

        An exception inside leaves the slot invalid and publishes nothing.
        """
        slot = self._slots[self._writer.begin()]
        slot.described = False
        yield slot
        if not slot.described:
            raise RuntimeError("a slot was left without describe(); nothing is published")
        self._writer.publish()

    @property
    def memory(self) -> Array:
        """uint8 (bytes,): the whole object, for a GPU to reach; until `close`."""
        return self._writer.buffer()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All places of the ring, by index; to be filled only through `slot`."""
        return tuple(self._slots)

    @property
    def header_address(self) -> int:
        """Where the header is mapped, for code that marks it without Python; until `close`."""
        return int(self._writer.buffer().ctypes.data)

    def set_state(self, state: CameraState) -> None:
        """Tells readers what the camera is doing; the next frames carry it too."""
        self._writer.set_state(int(state))

    def set_camera(self, camera: Camera, description: str) -> None:
        """Tells readers of the header that the camera is another one, of the same size; call before its first frame."""
        self._writer.set_camera(_numbers_of(camera), description)

    def count(self, dropped: int = 0, deadline_misses: int = 0, reconnects: int = 0) -> None:
        """Adds to the counters in the header."""
        self._writer.count(dropped, deadline_misses, reconnects)

    def close(self) -> None:
        """Tells readers that the writer stopped in good order and removes the object, unless it is to be
        kept.

        Views of slots stay safe to touch and are nobody's any more. May be called twice.
        """
        if self._closed or not self._writer.is_mine():
            return  # in a fork, the name and the memory are still the parent's
        self._closed = True
        self._writer.set_state(int(CameraState.STOPPED))
        if not self._keep_after_exit:
            segment.remove_name(self.name, self._inode)
            self._writer.retire()
        self._writer.detach()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plane_requests(
    optional: tuple[str, ...], camera: Camera, mono_size: tuple[int, int] | None
) -> list[tuple[int, int, int]]:
    chosen = {*_ALWAYS, *(PlaneId[name.upper()] for name in optional)}
    mono_height, mono_width = mono_size or (camera.height, camera.width)
    return [
        (plane, mono_width, mono_height) if plane == PlaneId.MONO else (plane, camera.width, camera.height)
        for plane in sorted(chosen)
    ]


def _start_writer(plan: _shm.Plan, name: str, mode: int, camera: Camera, description: str) -> tuple[_shm.Writer, int]:
    while True:
        claimed = segment.claim(name, plan, mode)
        try:
            writer = _shm.Writer(
                claimed.fd,
                plan,
                claimed.adopted,
                secrets.randbits(64) or 1,
                _boot_id(),
                _numbers_of(camera),
                description,
                f"depthd {version('depthd')}",
            )
            if claimed.adopted or segment.give_name(claimed, name):
                return writer, os.fstat(claimed.fd).st_ino
        finally:
            # The writer's mapping keeps the file and its lock; a descriptor would be inherited by a fork.
            os.close(claimed.fd)
            if claimed.replaces_fd is not None:
                os.close(claimed.replaces_fd)


def _numbers_of(camera: Camera) -> tuple[int, int, float, float, float, float, float, float]:
    """In the order of depthd_camera."""
    focal, centre = (camera.fx, camera.fy), (camera.cx, camera.cy)
    return camera.width, camera.height, *focal, *centre, camera.baseline_m, camera.doffs_px


def _boot_id() -> bytes:
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except OSError as error:
        raise DepthdError(f"cannot read the boot id: {error.strerror}", "mount /proc") from None


def _make_slots(buffer: Array) -> list[Slot]:
    header = np.frombuffer(buffer, HEADER, 1)[0]
    meta_offset, meta_bytes, data_offset, slot_bytes, count = (int(header[field]) for field in RING_FIELDS)
    planes = [_view_of(entry) for entry in header["planes"][: int(header["plane_count"])]]
    slots = []
    for index in range(count):
        metadata = buffer[meta_offset + index * meta_bytes :][:meta_bytes]
        views = {plane.id.name.lower(): plane.of(buffer, data_offset + index * slot_bytes) for plane in planes}
        slots.append(Slot(index, views, metadata))
    return slots


def _view_of(entry: Any) -> PlaneView:
    fields = ("id", "dtype", "width", "height", "channels", "offset", "row_bytes")
    return PlaneView.from_entry(*(int(entry[field]) for field in fields))
