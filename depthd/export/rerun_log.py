"""Frames for Rerun (rerun-sdk): camera, pictures, depth, cloud and plots, laid out; live or to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthd.errors import DepthdError
from depthd.export.panels import source_picture
from depthd.geometry import points_of
from depthd.statistics import shares, stage_durations_ms

if TYPE_CHECKING:
    from depthd.shm.reader import Frame

MOST_POINTS = 100_000
REMOTE = ("rerun+http://", "rerun+https://", "rerun://")


class RerunLog:
    """Writes an .rrd file, opens Rerun's viewer (`live`), or sends to one that runs on another machine
    (`rerun+http://HOST:9876/proxy`). Raises DepthdError without rerun-sdk.
    """

    def __init__(self, target: str) -> None:
        try:
            import rerun
            import rerun.blueprint as layout
        except ModuleNotFoundError:
            raise DepthdError("this needs rerun-sdk", "pip install 'depthd[viz]'") from None
        self._rerun = rerun
        rerun.init("depthd", spawn=target == "live")
        if target.startswith(REMOTE):
            rerun.connect_grpc(target)
        elif target != "live":
            path = Path(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            rerun.save(str(path))
        rerun.send_blueprint(_layout(layout))

    def close(self) -> None:
        """Waits until everything is written or sent."""
        self._rerun.disconnect()

    def add(self, frame: Frame) -> None:
        """Logs one frame; the caller has copied it."""
        rr = self._rerun
        rr.set_time("picture", duration=frame.timestamps.captured_ns * 1e-9)
        camera = frame.camera
        rr.log(
            "camera",
            rr.Pinhole(
                focal_length=(camera.fx, camera.fy),
                principal_point=(camera.cx, camera.cy),
                resolution=(camera.width, camera.height),
            ),
        )
        rr.log("camera/depth", rr.DepthImage(np.nan_to_num(frame.depth), meter=1.0))
        rr.log("source", rr.Image(source_picture(frame.source), color_model="BGR"))
        if frame.stereo_depth is not None:
            stereo_m = np.where(np.isfinite(frame.stereo_depth), frame.stereo_depth, np.float32(0))
            rr.log("stereo", rr.DepthImage(stereo_m, meter=1.0))
        if frame.left is not None:
            rr.log("camera/left", rr.Image(frame.left, color_model="BGR"))
        self._add_cloud(frame)
        self._add_numbers(frame)

    def _add_cloud(self, frame: Frame) -> None:
        step = max(1, int(np.ceil(np.sqrt(frame.depth.size / MOST_POINTS))))
        points = points_of(frame.depth, frame.camera)[::step, ::step].reshape(-1, 3)
        known = np.isfinite(points[:, 2])
        colours = None
        if frame.left is not None:
            colours = frame.left[::step, ::step, ::-1].reshape(-1, 3)[known]
        self._rerun.log("cloud", self._rerun.Points3D(points[known], colors=colours))

    def _add_numbers(self, frame: Frame) -> None:
        from depthd.frame import Source

        rr, fit = self._rerun, frame.fit
        numbers = {"fit/scale": fit.scale, "fit/shift": fit.shift, "fit/residual_percent": 100 * fit.residual}
        numbers |= {f"latency/{stage}": ms for stage, ms in stage_durations_ms(frame.timestamps).items()}
        share = shares(frame.pixels_per_source)
        numbers |= {f"share/{s.name.lower()}": 100 * part for s, part in zip(Source, share, strict=False)}
        for name, value in numbers.items():
            if np.isfinite(value):
                rr.log(name, rr.Scalars(float(value)))


def _layout(layout: Any) -> Any:
    pictures = layout.Grid(
        layout.Spatial2DView(origin="camera/left", name="left"),
        layout.Spatial2DView(origin="stereo", name="stereo depth"),
        layout.Spatial2DView(origin="camera/depth", name="fused depth"),
        layout.Spatial2DView(origin="source", name="source"),
    )
    plots = layout.Horizontal(*(layout.TimeSeriesView(origin=name, name=name) for name in ("fit", "latency", "share")))
    cloud = layout.Spatial3DView(origin="/", contents=["cloud"], name="cloud")
    return layout.Blueprint(layout.Vertical(layout.Horizontal(cloud, pictures), plots, row_shares=[3, 1]))
