"""`depthd evaluate` for the page: a plane, a sphere or a measured distance in one frame."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from depthd import evaluate, saved
from depthd.errors import UsageError
from depthd.geometry import Plane

if TYPE_CHECKING:
    from depthd.shm.reader import Frame

SHAPES = ("plane", "sphere")
DEPTHS = ("fused", "stereo")


def judged(name: str, held: Frame | None, query: Mapping[str, str]) -> dict[str, Any]:
    """query: `shape` and `region` (x,y,width,height), or `distance_mm` and `at` (x,y); `depth`: fused or stereo.

    Returns `values`, numbers by name, and of shapes the residual picture as a data URL. Raises DepthdError.
    """
    depth = query.get("depth", "fused")
    if depth not in DEPTHS:
        raise UsageError(f"there is no {depth} depth", f"ask for {' or '.join(DEPTHS)}")
    frame = saved.next_frame(name) if held is None else saved.of_frame(held)
    if "distance_mm" in query:
        readings = evaluate.read_distance(frame, _pixel(query.get("at", "")), _length(query["distance_mm"]))
        return {"values": dict(pair for reading in readings for pair in _of_reading(reading))}
    shape = query.get("shape", "")
    if shape not in SHAPES:
        raise UsageError(f"{shape!r} is no shape", f"ask for {' or '.join(SHAPES)}, or for distance_mm and at")
    region = evaluate.Region.parse(query.get("region", ""))
    report = evaluate.fit_shape(frame, region, shape, depth)
    return {"values": _of_shape(report), "picture": _png(evaluate.residual_close_up(frame, region, report))}


def _of_reading(reading: evaluate.DistanceReading) -> list[tuple[str, float | None]]:
    found, error = reading.found_mm, reading.error_mm
    if found is None or error is None:
        return [(f"{reading.which}_mm", None)]
    values = {"mm": found, "error_mm": error, "error_percent": 100 * error / reading.true_mm}
    return [(f"{reading.which}_{name}", round(value, 2)) for name, value in values.items()]


def _of_shape(report: evaluate.ShapeReport) -> dict[str, Any]:
    shape = report.shape
    values: dict[str, Any] = {"rms_mm": round(1e3 * report.rms_m, 2)}
    if isinstance(shape, Plane):
        values["normal"] = [round(float(part), 4) for part in shape.normal]
        values["tilt_degrees"] = round(shape.tilt_degrees, 2)
        values["plane_distance_m"] = round(shape.distance_m, 4)
    else:
        values["radius_mm"] = round(1e3 * shape.radius_m, 1)
        values["centre_m"] = [round(float(part), 4) for part in shape.centre]
    return {**values, "points": report.points, "outlier_percent": round(100 * report.outlier_share, 1)}


def _pixel(text: str) -> tuple[int, int]:
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no pixel", "give at=x,y") from None
    return x, y


def _length(text: str) -> float:
    try:
        millimetres = float(text)
    except ValueError:
        millimetres = math.nan
    if not (math.isfinite(millimetres) and millimetres > 0):
        raise UsageError(f"{text!r} is no distance", "give millimetres, as 750")
    return millimetres


def _png(picture: Any) -> str:
    import cv2

    _, png = cv2.imencode(".png", picture)
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
