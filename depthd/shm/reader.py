"""The reading side of the shared memory. Needs NumPy and nothing else; never locks, never slows the
writer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np

from depthd import _shm
from depthd.frame import Camera, Fit, FitStatus, StageTimes
from depthd.shm.errors import NotRunning, Timeout, error_for
from depthd.shm.layout import (
    HEADER,
    METADATA_READ,
    SOURCES,
    SOURCES_OFFSET,
    CameraState,
    ErrorCode,
    Metadata,
    PlaneView,
)

_NAME_POLL_S = 0.02
"""How often a reader looks for a new object while there is none. With an object, it sleeps until it is
woken.
"""

_ASYNC_WAIT_S = 0.25

_FIT_STATUSES = frozenset(FitStatus)
_CAMERA_STATES = frozenset(CameraState)

Views = dict[str, "np.ndarray[Any, Any]"]


def _camera_state(number: int) -> CameraState:
    """A state that this version does not know is none to rely on."""
    return CameraState(number) if number in _CAMERA_STATES else CameraState.LOST


class Frame:
    """One published frame: read-only views into the shared memory, and a whole copy of the metadata.

    Use the views, then ask `valid()`: if it is False, the writer came round meanwhile, and what was computed
    has to be thrown away. `copy()` gives a frame that stays whole.

    depth: float32 (height, width), metres along the optical axis, NaN = unknown. source: uint8, see
    depthd.frame.Source. sigma: float16, one-sigma relative error. left: uint8 (height, width, 3) BGR.
    stereo_depth, mono: float32. xyz: float32 (height, width, 3), metres. The last four are None where the
    writer does not publish them.
    """

    __slots__ = ("_metadata", "_native", "_planes", "_raw", "_slot")

    def __init__(self, native: _shm.Reader | None, planes: Views, slot: int, raw: bytes) -> None:
        self._native = native
        self._planes = planes
        self._slot = slot
        self._raw = raw
        self._metadata = Metadata._make(METADATA_READ.unpack_from(raw))

    @property
    def id(self) -> int:
        """Counts published frames from 1; a gap means that frames were missed. Goes on over a crash of the
        writer.
        """
        return self._metadata.id

    @property
    def camera_index(self) -> int:
        """The camera's own count of pictures."""
        return self._metadata.camera_index

    @property
    def writer_id(self) -> int:
        """Random, another one for every writer process."""
        return self._metadata.writer_id

    @property
    def state(self) -> CameraState:
        """What the camera was doing when the frame was published."""
        return _camera_state(self._metadata.camera_state)

    @property
    def dropped(self) -> int:
        """Frames lost before this one, since the writer started."""
        return self._metadata.dropped

    @property
    def picture_clock_ns(self) -> int:
        """The camera's own clock."""
        return self._metadata.picture_clock_ns

    @property
    def depth(self) -> np.ndarray[Any, Any]:
        return self._planes["depth"]

    @property
    def source(self) -> np.ndarray[Any, Any]:
        return self._planes["source"]

    @property
    def sigma(self) -> np.ndarray[Any, Any]:
        return self._planes["sigma"]

    @property
    def left(self) -> np.ndarray[Any, Any] | None:
        return self._planes.get("left")

    @property
    def stereo_depth(self) -> np.ndarray[Any, Any] | None:
        return self._planes.get("stereo_depth")

    @property
    def mono(self) -> np.ndarray[Any, Any] | None:
        return self._planes.get("mono")

    @property
    def xyz(self) -> np.ndarray[Any, Any] | None:
        return self._planes.get("xyz")

    @property
    def camera(self) -> Camera:
        m = self._metadata
        return Camera(
            m.camera_width,
            m.camera_height,
            m.camera_fx,
            m.camera_fy,
            m.camera_cx,
            m.camera_cy,
            m.camera_baseline_m,
            m.camera_doffs_px,
        )

    @property
    def fit(self) -> Fit:
        m = self._metadata
        return Fit(
            m.fit_scale,
            m.fit_shift,
            m.fit_residual,
            m.fit_inlier_share,
            m.fit_pearson_r,
            m.fit_sample_count,
            m.fit_age_frames,
            FitStatus(m.fit_status) if m.fit_status in _FIT_STATUSES else FitStatus.UNFIT,
        )

    @property
    def timestamps(self) -> StageTimes:
        """When the frame left each stage, CLOCK_MONOTONIC nanoseconds (time.monotonic_ns)."""
        m = self._metadata
        return StageTimes(
            m.times_captured_ns,
            m.times_grabbed_ns,
            m.times_matched_ns,
            m.times_inferred_ns,
            m.times_fused_ns,
            m.times_published_ns,
        )

    @property
    def age_s(self) -> float:
        """Seconds since the picture was taken."""
        return (time.monotonic_ns() - self._metadata.times_captured_ns) * 1e-9

    @property
    def pixels_per_source(self) -> tuple[int, ...]:
        """How many pixels each depthd.frame.Source gave, in its order."""
        return SOURCES.unpack_from(self._raw, SOURCES_OFFSET)

    def valid(self) -> bool:
        """True if everything read from the views up to now was whole. Always True for a copy."""
        return self._native is None or self._native.still_valid(self._slot, self._metadata.sequence)

    def copy(self) -> Frame:
        """The same frame in memory of its own. Raises Overwritten if the writer came round before it was
        done.
        """
        planes = {name: view.copy() for name, view in self._planes.items()}
        if not self.valid():
            raise error_for(ErrorCode.OVERWRITTEN, "frame")
        return Frame(None, planes, self._slot, self._raw)


class Reader:
    """Attached to a writer's shared memory. Made by `depthd.open`. One thread uses it.

    Goes on by itself after the writer crashes, restarts, or comes back with another picture size.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._native: _shm.Reader | None = None
        self._slots: list[Views] = []
        code = self._attach()
        if code != ErrorCode.OK:
            raise error_for(code, name)

    def wait(self, timeout: float | None = None) -> Frame:
        """The newest frame, once it is newer than the last one returned. Sleeps until the writer wakes it.

        timeout: seconds; None waits for ever. Raises Timeout when the time is up and the writer lives,
        WriterDied (a Timeout) when it is dead, NotRunning when it stopped. Waiting again is right in each
        case. A signal handler that raises (Ctrl-C) ends the wait.
        """
        deadline_ns = None if timeout is None else time.monotonic_ns() + int(timeout * 1e9)
        while True:
            native = self._open_native()
            left_ns = -1 if deadline_ns is None else max(deadline_ns - time.monotonic_ns(), 0)
            found = native.wait(left_ns)
            if not isinstance(found, int):
                return self._frame(found)
            if found != ErrorCode.RETIRED:
                raise error_for(found, self.name)
            self._attach_before(deadline_ns)

    def latest(self) -> Frame | None:
        """The newest frame, at once, whatever its age; None before the first one. Raises NotRunning if the
        writer stopped.
        """
        native = self._open_native()
        if native.is_retired():
            code = self._attach()
            if code != ErrorCode.OK:
                raise error_for(code, self.name)
            native = self._open_native()
        found = native.latest()
        if not isinstance(found, int):
            return self._frame(found)
        if found == ErrorCode.NO_FRAME:
            return None
        raise error_for(found, self.name)

    @property
    def header(self) -> Any:
        """The object's header, a copy: a NumPy record with the fields of depthd_header in
        kernels/include/depthd.h.
        """
        raw = self._open_native().header()
        if isinstance(raw, int):
            raise error_for(raw, self.name)
        return np.frombuffer(raw, HEADER, 1)[0]

    @property
    def memory(self) -> np.ndarray[Any, Any]:
        """The whole object as read-only bytes, for GPU programs to pin. Another one after a reconnection."""
        memory: np.ndarray[Any, Any] = self._open_native().buffer()
        return memory

    @property
    def state(self) -> CameraState:
        """What the camera is doing now."""
        return _camera_state(int(self.header["camera_state"]))

    @property
    def writer_lives(self) -> bool:
        """Whether a process holds the writer's lock."""
        return self._open_native().writer_lives()

    def close(self) -> None:
        """Lets go of the shared memory. Frames and views that are still in use keep it mapped. May be called
        twice.
        """
        self._native = None
        self._slots = []

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """Frames for ever, each newer than the one before; goes on when the writer restarts."""
        while True:
            yield self.wait()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """The same for asyncio: the waiting is done by a thread, so the event loop goes on meanwhile."""
        import asyncio

        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "depthd-reader")
        try:
            while True:
                frame = await loop.run_in_executor(thread, self._wait_briefly)
                if frame is not None:
                    yield frame
        finally:
            thread.shutdown(wait=False)

    def _wait_briefly(self) -> Frame | None:
        """Waits no longer than a cancelled task may leave its thread behind."""
        try:
            return self.wait(_ASYNC_WAIT_S)
        except (Timeout, NotRunning):
            return None

    def _open_native(self) -> _shm.Reader:
        if self._native is None:
            raise ValueError("the reader is closed")
        return self._native

    def _frame(self, found: tuple[int, int, bytes]) -> Frame:
        slot, _sequence, raw = found
        return Frame(self._native, self._slots[slot], slot, raw)

    def _attach_before(self, deadline_ns: int | None) -> None:
        """Attaches to the successor of an object that was retired. Raises NotRunning if none comes in
        time.
        """
        while self._attach() == ErrorCode.NOT_RUNNING:
            now_ns = time.monotonic_ns()
            if deadline_ns is not None and now_ns >= deadline_ns:
                raise NotRunning(f"shared memory {self.name!r}: the writer has stopped", "start depthd, or wait again")
            left_s = _NAME_POLL_S if deadline_ns is None else min(_NAME_POLL_S, (deadline_ns - now_ns) * 1e-9)
            time.sleep(left_s)

    def _attach(self) -> int:
        """Opens the name; the error code if nobody is there. Raises for an object that cannot be read."""
        native = _shm.open_reader(self.name)
        if native == ErrorCode.NOT_RUNNING:
            return ErrorCode.NOT_RUNNING
        if isinstance(native, int):
            raise error_for(native, self.name)
        buffer = native.buffer()
        planes = [PlaneView.from_entry(*entry) for entry in native.planes()]
        self._native = native
        self._slots = [
            {plane.id.name.lower(): plane.of(buffer, native.data_offset + slot * native.slot_bytes) for plane in planes}
            for slot in range(native.slot_count)
        ]
        return ErrorCode.OK


def open_reader(name: str = "depthd", device: str = "cpu") -> Reader:
    """Attaches to the camera that publishes under `name`, alive or just dead.

    device "cuda": frames are CuPy arrays over the writer's own GPU memory, without a copy; any framework takes them by
    DLPack or __cuda_array_interface__. Raises NotRunning, PermissionDenied, WrongVersion, DamagedObject; for "cuda"
    also DepthdError where CuPy, the GPU or the writer's copies are missing.
    """
    if device == "cpu":
        return Reader(name)
    if device != "cuda":
        raise ValueError(f"device is {device!r}, expected 'cpu' or 'cuda'")
    from depthd.shm.cuda_view import CudaReader

    return CudaReader(name)
