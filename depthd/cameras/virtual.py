"""A ZED 2i that is not there: the pictures, the calibration and the depth of a rendered scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthd.cameras.pacing import Pacing
from depthd.cameras.sensor import left_only, sensor_depth
from depthd.cameras.world import scenes
from depthd.cameras.world.kept import file_of
from depthd.cameras.world.render import Renderer
from depthd.config import Resolution, VirtualCameraConfig
from depthd.frame import Camera, StereoFrame

BASELINE_M = 0.12
FRAMES_IN_FLIGHT = 3


def _zed_2i(width: int, height: int, binning: int) -> Camera:
    """The sensor is 2208x1242 at most; HD1080 is a cut-out, HD720 and VGA are binned. Centre as of a real
    camera.
    """
    focal = 1068.08 / binning
    return Camera(
        width,
        height,
        focal,
        focal,
        cx=(width - 1) / 2 + 17.5 / binning,
        cy=(height - 1) / 2 + 22.9 / binning,
        baseline_m=BASELINE_M,
    )


ZED_2I: dict[Resolution, Camera] = {
    "HD2K": _zed_2i(2208, 1242, 1),
    "HD1080": _zed_2i(1920, 1080, 1),
    "HD720": _zed_2i(1280, 720, 2),
    "VGA": _zed_2i(672, 376, 4),
}
"""Rectified calibration at each delivered size."""


class VirtualCamera:
    """Renders a named scene. The same seed, scene, size and frame index give the same bytes.

    The arrays of a frame are written again FRAMES_IN_FLIGHT grabs later; those of `ground_truth_m` and
    `objects` by the next grab. In real time, frames whose moment has passed are left out, and `index` counts
    them. cache_folder: where to look for and keep what is computed once a scene; None: compute it. Raises UsageError
    for an unknown scene.
    """

    def __init__(self, config: VirtualCameraConfig, cache_folder: Path | None = None) -> None:
        self._config = config
        self._camera = ZED_2I[config.resolution]
        size = (self._camera.height, self._camera.width)
        self._pictures = np.zeros((FRAMES_IN_FLIGHT, 2, *size, 3), np.uint8)
        self._sensor_depth = np.zeros((FRAMES_IN_FLIGHT, *size), np.float32) if config.depth == "sensor" else None
        scene = scenes.build(config.scene, config.seed)
        kept = file_of(cache_folder, config.scene, config.seed) if cache_folder else None
        self._renderer = Renderer(scene, self._camera, config.seed, kept=kept)
        self._slot = 0
        # Compiles, or loads what an earlier process compiled, before time counts. The picture waits for the first grab.
        self._fill(0, 0)
        self._waiting: int | None = 0
        self._pacing = Pacing(config.fps, config.real_time)

    @property
    def camera(self) -> Camera:
        return self._camera

    @property
    def description(self) -> str:
        return f"virtual {self._config.resolution} scene {self._config.scene} seed {self._config.seed}"

    @property
    def period_s(self) -> float:
        return self._pacing.period_s

    def grab(self) -> StereoFrame:
        index, captured_ns = self._pacing.next_frame()
        if index != self._waiting:
            self._slot = (self._slot + 1) % FRAMES_IN_FLIGHT
            self._fill(index, self._slot)
        self._waiting, slot = None, self._slot
        return StereoFrame(
            index=index,
            captured_ns=captured_ns,
            picture_clock_ns=self._pacing.picture_clock_ns(index),
            camera=self._camera,
            left_bgr=self._pictures[slot, 0],
            right_bgr=self._pictures[slot, 1],
            depth_m=None if self._sensor_depth is None else self._sensor_depth[slot],
        )

    def close(self) -> None:
        self._renderer.close()

    def _fill(self, index: int, slot: int) -> None:
        left, right = self._pictures[slot]
        self._renderer.render(index / self._config.fps, index, left, right)
        if self._sensor_depth is not None:
            sensor_depth(
                self._renderer.left.depth_m,
                self._renderer.left.opaque_depth_m,
                self._renderer.right.opaque_depth_m,
                self._camera,
                self._config.minimum_depth_m,
                self._config.seed * 1_000_003 + index,
                self._sensor_depth[slot],
            )

    # What a bench wants to know about the last frame.

    @property
    def ground_truth_m(self) -> NDArray[np.float32]:
        """(height, width) exact depth of the first surface (glass counts), +inf where there is none."""
        return self._renderer.left.depth_m

    @property
    def behind_glass_m(self) -> NDArray[np.float32]:
        """(height, width) exact depth of the first surface that is not glass: what a perfect matcher
        finds.
        """
        return self._renderer.left.opaque_depth_m

    @property
    def objects(self) -> NDArray[np.uint8]:
        """(height, width) index into `object_names`; 255 where there is nothing."""
        return self._renderer.left.objects

    @property
    def object_names(self) -> list[str]:
        return self._renderer.names

    def mask(self, name: str) -> NDArray[np.bool_]:
        """(height, width): where the left eye sees the object of this name. Raises ValueError for an unknown
        one.
        """
        return self.objects == self._renderer.object_id(name)

    @property
    def left_only(self) -> NDArray[np.bool_]:
        """(height, width): surfaces that the right eye does not see."""
        return left_only(self._renderer.left.depth_m, self._renderer.right.depth_m, self._camera)

    @property
    def too_near(self) -> NDArray[np.bool_]:
        """(height, width): surfaces nearer than the stereo range."""
        return self.ground_truth_m < self._config.minimum_depth_m
