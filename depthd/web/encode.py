"""One frame as the message that the page decodes.

A message is: uint32 little-endian length of the JSON; the JSON, padded with spaces to a multiple of 4; the
parts, back
to back. The JSON says of the frame what its metadata says, and of each part where it lies and how it is
coded:

- `picture`: JPEG or WebP.
- `depth`: depth in metres as 16-bit codes (kernels/codec.c), packed.
- `beside`: depth as well; 0 where it is that of the part `depth`, else its code + 1. Most of stereo is in
fused depth,
  bit for bit, so this takes a tenth of the bytes.
- `integer`: small whole numbers, packed the same way.
- `half`: float16, their bits without the last 4, packed the same way.
- `float32`: plain little-endian numbers.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from depthd import _codec
from depthd.comparison import fitted_depth_m, kind_of, sample
from depthd.frame import Source
from depthd.statistics import stage_durations_ms

if TYPE_CHECKING:
    from depthd.shm.reader import Frame

QUALITY = 85
PICTURES = ("jpeg", "webp")
"""WebP takes half the bytes of JPEG, and thirty times the time; depth, which is ten times as large, stays as it is."""
SAMPLES = 2500
HALF_DROPPED_BITS = 4


@dataclass(frozen=True)
class Part:
    """One array of a message. kind: see the module; width, height in pixels."""

    kind: str
    width: int
    height: int
    data: bytes


@dataclass
class EncodedFrame:
    """A frame that is whole and does not change; messages are made from it once for each choice of parts."""

    header: dict[str, Any]
    parts: dict[str, Part]
    _messages: dict[frozenset[str], bytes] = field(default_factory=dict)

    @property
    def id(self) -> int:
        return int(self.header["id"])

    def message(self, wanted: Collection[str], held: bool = False) -> bytes:
        """The bytes for a viewer that wants these parts; viewers that want the same get the same object."""
        names = frozenset(wanted).intersection(self.parts)
        if "stereo" in names:
            names |= {"depth"} & self.parts.keys()
        if held:
            return assemble({**self.header, "held": True}, {name: self.parts[name] for name in sorted(names)})
        if names not in self._messages:
            self._messages[names] = assemble(self.header, {name: self.parts[name] for name in sorted(names)})
        return self._messages[names]


def assemble(header: dict[str, Any], parts: dict[str, Part]) -> bytes:
    table, offset = [], 0
    for name, part in parts.items():
        table.append(
            {
                "name": name,
                "kind": part.kind,
                "width": part.width,
                "height": part.height,
                "offset": offset,
                "length": len(part.data),
            }
        )
        offset += len(part.data) + -len(part.data) % 4
    text = json.dumps({**header, "parts": table}, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    padded = [piece for part in parts.values() for piece in (part.data, bytes(-len(part.data) % 4))]
    return b"".join([struct.pack("<I", len(text)), text, *padded])


def encode(frame: Frame, wanted: Collection[str], picture: str = "jpeg") -> EncodedFrame:
    """Encodes the parts that are wanted and published. picture: one of PICTURES.

    The caller asks `frame.valid()` afterwards.
    """
    parts = {}
    for name in {*wanted, *(["depth"] if "stereo" in wanted else [])}:
        part = _left(frame, picture) if name == "left" else _ENCODERS[name](frame) if name in _ENCODERS else None
        if part is not None:
            parts[name] = part
    return EncodedFrame(header_of(frame), parts)


def header_of(frame: Frame) -> dict[str, Any]:
    """What the page shows of the frame in numbers; JSON knows no NaN, so unknown is null."""
    height, width = frame.depth.shape
    times = frame.timestamps
    return {
        "type": "frame",
        "id": frame.id,
        "writer": f"{frame.writer_id:x}",
        "width": width,
        "height": height,
        "state": frame.state.name.lower(),
        "dropped": frame.dropped,
        "captured_ns": times.captured_ns,
        "published_ns": times.published_ns,
        "stages_ms": {name: round(ms, 3) for name, ms in stage_durations_ms(times).items()},
        "camera": asdict(frame.camera),
        "fit": {
            **{name: _json_number(value) for name, value in asdict(frame.fit).items() if name != "status"},
            "status": frame.fit.status.name.lower(),
        },
        "pixels": dict(zip((s.name.lower() for s in Source), frame.pixels_per_source, strict=False)),
        "planes": _planes_of(frame),
    }


def pack_half(plane: np.ndarray[Any, Any]) -> bytes:
    """float16 >= 0 or NaN -> packed codes; 4 of 10 bits of the mantissa are dropped, rounded: at most 0.8
    % off.
    """
    bits = np.ascontiguousarray(plane).view(np.uint16)
    return _codec.pack((bits + np.uint16(1 << (HALF_DROPPED_BITS - 1))) >> HALF_DROPPED_BITS)


def _planes_of(frame: Frame) -> list[str]:
    beside = {"left": frame.left, "stereo": frame.stereo_depth, "mono": frame.mono}
    return ["depth", "source", "sigma", *(name for name, plane in beside.items() if plane is not None)]


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _left(frame: Frame, picture: str) -> Part | None:
    import cv2

    if frame.left is None:
        return None
    height, width = frame.left.shape[:2]
    option = cv2.IMWRITE_WEBP_QUALITY if picture == "webp" else cv2.IMWRITE_JPEG_QUALITY
    _, data = cv2.imencode(f".{picture}", frame.left, [option, QUALITY])
    return Part("picture", width, height, data.tobytes())


def _depth_part(depth_m: np.ndarray[Any, Any]) -> Part:
    height, width = depth_m.shape
    return Part("depth", width, height, _codec.pack(_codec.depth_codes(depth_m)))


def _depth(frame: Frame) -> Part:
    return _depth_part(frame.depth)


def _stereo(frame: Frame) -> Part | None:
    if frame.stereo_depth is None:
        return None
    height, width = frame.stereo_depth.shape
    codes, fused = _codec.depth_codes(frame.stereo_depth), _codec.depth_codes(frame.depth)
    return Part("beside", width, height, _codec.pack(np.where(codes == fused, np.uint16(0), codes + np.uint16(1))))


def _source(frame: Frame) -> Part:
    height, width = frame.source.shape
    return Part("integer", width, height, _codec.pack(frame.source.astype(np.uint16)))


def _sigma(frame: Frame) -> Part:
    height, width = frame.sigma.shape
    return Part("half", width, height, pack_half(frame.sigma))


def _mono(frame: Frame) -> Part | None:
    """Mono as depth after the fit, of the network's size."""
    if frame.mono is None or frame.stereo_depth is None:
        return None
    return _depth_part(fitted_depth_m(frame.mono, kind_of(frame.mono, frame.stereo_depth), frame.fit))


def _samples(frame: Frame) -> Part | None:
    """Rows of (mono turned linear, stereo inverse depth in 1/m)."""
    if frame.mono is None or frame.stereo_depth is None:
        return None
    samples = sample(frame.stereo_depth, frame.mono, kind_of(frame.mono, frame.stereo_depth), SAMPLES)
    pairs = np.stack([samples.x, samples.stereo], axis=1).astype("<f4")
    return Part("float32", 2, len(pairs), pairs.tobytes())


_ENCODERS: dict[str, Callable[[Frame], Part | None]] = {
    "depth": _depth,
    "stereo": _stereo,
    "source": _source,
    "sigma": _sigma,
    "mono": _mono,
    "samples": _samples,
}
PARTS: Sequence[str] = ("left", *_ENCODERS)
"""Everything that a viewer can ask for."""
