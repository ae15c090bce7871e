"""The wire format as Python sees it, made from what the compiler says of kernels/include/depthd.h.

Nothing here is typed a second time: offsets, sizes and numbers come from the extension.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from depthd import _shm
from depthd.frame import Source

_STRUCTURES = _shm.layout()
_CONSTANTS = _shm.constants()

DIRECTORY: str = _CONSTANTS["DIRECTORY"]
SLOTS_MIN: int = _CONSTANTS["SLOTS_MIN"]
VERSION: tuple[int, int] = (_CONSTANTS["VERSION_MAJOR"], _CONSTANTS["VERSION_MINOR"])


class PlaneId(IntEnum):
    """The planes of a slot; their names in lower case are those of the configuration."""

    DEPTH = _CONSTANTS["PLANE_DEPTH"]
    SOURCE = _CONSTANTS["PLANE_SOURCE"]
    SIGMA = _CONSTANTS["PLANE_SIGMA"]
    LEFT = _CONSTANTS["PLANE_LEFT"]
    STEREO_DEPTH = _CONSTANTS["PLANE_STEREO_DEPTH"]
    MONO = _CONSTANTS["PLANE_MONO"]
    XYZ = _CONSTANTS["PLANE_XYZ"]


class CameraState(IntEnum):
    """What the daemon's camera is doing."""

    OPENING = _CONSTANTS["CAMERA_OPENING"]
    RUNNING = _CONSTANTS["CAMERA_RUNNING"]
    LOST = _CONSTANTS["CAMERA_LOST"]
    """The daemon lives and tries to open the camera again."""
    STOPPED = _CONSTANTS["CAMERA_STOPPED"]
    """The daemon ended in good order."""


class LockHolder(IntEnum):
    """Who holds a lock on an object's first byte."""

    NOBODY = _CONSTANTS["HELD_BY_NOBODY"]
    READER = _CONSTANTS["HELD_BY_READER"]
    WRITER = _CONSTANTS["HELD_BY_WRITER"]


class ErrorCode(IntEnum):
    """The error codes of depthd.h that Python tells apart."""

    OK = _CONSTANTS["OK"]
    NOT_RUNNING = _CONSTANTS["NOT_RUNNING"]
    NOT_DEPTHD = _CONSTANTS["NOT_DEPTHD"]
    WRONG_VERSION = _CONSTANTS["WRONG_VERSION"]
    DAMAGED = _CONSTANTS["DAMAGED"]
    TIMEOUT = _CONSTANTS["TIMEOUT"]
    RETIRED = _CONSTANTS["RETIRED"]
    NO_FRAME = _CONSTANTS["NO_FRAME"]
    OVERWRITTEN = _CONSTANTS["OVERWRITTEN"]


PLANE_DTYPES: dict[int, np.dtype[Any]] = {
    _CONSTANTS["U8"]: np.dtype(np.uint8),
    _CONSTANTS["U16"]: np.dtype(np.uint16),
    _CONSTANTS["I32"]: np.dtype(np.int32),
    _CONSTANTS["F16"]: np.dtype(np.float16),
    _CONSTANTS["F32"]: np.dtype(np.float32),
    _CONSTANTS["F64"]: np.dtype(np.float64),
}


def structure_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of one structure of depthd.h, reserved fields left out, for example 'header' or
    'slot_meta'.
    """
    size, fields = _STRUCTURES[name]
    formats = [_field_format(field, text, field_bytes) for field, _offset, text, field_bytes in fields]
    return np.dtype(
        {
            "names": [field[0] for field in fields],
            "formats": formats,
            "offsets": [field[1] for field in fields],
            "itemsize": size,
        }
    )


def _field_format(field: str, text: str, field_bytes: int) -> Any:
    if not text.endswith("struct"):
        return text
    inner = structure_dtype("plane" if field == "planes" else field)
    return inner if field_bytes == inner.itemsize else (inner, field_bytes // inner.itemsize)


HEADER = structure_dtype("header")
SLOT_META = structure_dtype("slot_meta")
DEVICE_COPY = structure_dtype("device_copy")
DEVICE_CUDA: int = _CONSTANTS["DEVICE_CUDA"]


class PlaneView(NamedTuple):
    """Where a plane lies in a slot. shape: (height, width) or (height, width, channels)."""

    id: PlaneId
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def from_entry(
        cls, plane: int, dtype: int, width: int, height: int, channels: int, offset: int, row_bytes: int
    ) -> PlaneView:
        kind = PLANE_DTYPES[dtype]
        shape: tuple[int, ...] = (height, width)
        strides: tuple[int, ...] = (row_bytes, channels * kind.itemsize)
        if channels > 1:
            shape, strides = (*shape, channels), (*strides, kind.itemsize)
        return cls(PlaneId(plane), kind, shape, strides, offset)

    def of(self, buffer: np.ndarray[Any, Any], slot_offset: int) -> np.ndarray[Any, Any]:
        """The plane's pixels in the slot that starts at `slot_offset` of the object, without a copy."""
        return np.ndarray(self.shape, self.dtype, buffer, slot_offset + self.offset, self.strides)


class Metadata(NamedTuple):
    """The scalars of a slot's metadata, flattened, in the order in which they lie in memory."""

    sequence: int
    id: int
    writer_id: int
    camera_index: int
    camera_state: int
    flags: int
    dropped: int
    picture_clock_ns: int
    times_captured_ns: int
    times_grabbed_ns: int
    times_matched_ns: int
    times_inferred_ns: int
    times_fused_ns: int
    times_published_ns: int
    camera_width: int
    camera_height: int
    camera_fx: float
    camera_fy: float
    camera_cx: float
    camera_cy: float
    camera_baseline_m: float
    camera_doffs_px: float
    fit_scale: float
    fit_shift: float
    fit_residual: float
    fit_inlier_share: float
    fit_pearson_r: float
    fit_sample_count: int
    fit_age_frames: int
    fit_status: int


_STRUCT_CODES = {"=u4": "I", "=u8": "Q", "=i8": "q", "=f8": "d"}
_NOT_FLAT = ("pose", "device_copy")
"""Structures that few readers ask for; they are taken from the raw metadata where they are wanted."""
WRITTEN_BY_C = ("sequence", "id", "writer_id")
"""The first fields of `Metadata`, which only the extension stores."""


def _offset_of(dtype: np.dtype[Any], field: str) -> int:
    assert dtype.fields is not None
    return dtype.fields[field][1]


def _flat_fields(dtype: np.dtype[Any], prefix: str = "", base: int = 0) -> list[tuple[str, int, str]]:
    flat: list[tuple[str, int, str]] = []
    for name in dtype.names or ():
        inner, offset = dtype[name], _offset_of(dtype, name)
        if inner.names and name not in _NOT_FLAT:
            flat += _flat_fields(inner, f"{name}_", base + offset)
        elif not inner.names and not inner.shape:
            flat.append((prefix + name, base + offset, f"={inner.kind}{inner.itemsize}"))
    return flat


def _metadata_struct(skip: int) -> struct.Struct:
    """A struct for the fields of `Metadata` from number `skip` on; its first byte is that field's first
    byte.
    """
    fields = _flat_fields(SLOT_META)
    if tuple(name for name, _, _ in fields) != Metadata._fields:
        raise RuntimeError("depthd.shm.layout.Metadata does not match kernels/include/depthd.h")
    position, text = fields[skip][1], "="
    for _, offset, kind in fields[skip:]:
        text += f"{offset - position}x{_STRUCT_CODES[kind]}"
        position = offset + int(kind[2:])
    return struct.Struct(text)


METADATA_READ = _metadata_struct(0)
METADATA_WRITE = _metadata_struct(len(WRITTEN_BY_C))
METADATA_WRITE_OFFSET: int = _offset_of(SLOT_META, "camera_index")

SOURCES = struct.Struct(f"={len(Source)}I")
SOURCES_OFFSET: int = _offset_of(SLOT_META, "pixels_per_source")
DEVICE_COPY_OFFSET: int = _offset_of(SLOT_META, "device_copy")
PID_OFFSET: int = _offset_of(HEADER, "pid")
RING_FIELDS = ("meta_offset", "meta_bytes", "data_offset", "slot_bytes", "slot_count")
