"""Every named scene shows the trouble that it is built round."""

from __future__ import annotations

import numpy as np
import pytest

from depthd.cameras.sensor import left_only
from depthd.cameras.virtual import ZED_2I
from depthd.cameras.world.render import Renderer
from depthd.cameras.world.scenes import SCENES, build

CAMERA = ZED_2I["VGA"].scaled_to(168, 94)


class Shot:
    """One small picture of a scene, 1.3 s after it began."""

    def __init__(self, name: str) -> None:
        self.scene = build(name, 0)
        renderer = Renderer(self.scene, CAMERA, 0)
        self.left, right = (np.zeros((94, 168, 3), np.uint8) for _ in range(2))
        renderer.render(1.3, 20, self.left, right)
        renderer.close()
        self.depth, self.behind_glass = renderer.left.depth_m, renderer.left.opaque_depth_m
        self.left_only = left_only(self.depth, renderer.right.depth_m, CAMERA)
        self.objects, self.names = renderer.left.objects, renderer.names

    def share(self, name: str) -> float:
        return float((self.objects == self.names.index(name)).mean())


TROUBLE = {
    "room": lambda shot: {"glass", "sphere", "pole", "poster", "hand", "shelf"} <= set(shot.names),
    "too_near": lambda shot: (shot.depth < 0.3).mean() > 0.08,
    "left_only_band": lambda shot: shot.left_only.mean() > 0.1,
    "glass": lambda shot: (shot.behind_glass > 1.2 * shot.depth).mean() > 0.02,
    "textureless_wall": lambda shot: np.abs(np.diff(shot.left.astype(int), axis=1)).mean() < 3,
    "repetitive_texture": lambda shot: shot.share("fence") > 0.05 and shot.share("bars") > 0.01,
    "thin_poles": lambda shot: 0.005 < shot.share("pole") + shot.share("wire") < 0.1,
    "poster": lambda shot: shot.share("poster") > 0.15,
    "mirror_floor": lambda shot: shot.share("floor") > 0.15,
    "low_light": lambda shot: shot.left.mean() < 45,
    "exposure_change": lambda shot: shot.scene.exposure(1.0) > 5 * shot.scene.exposure(1.7),
    "far_corridor": lambda shot: (shot.depth > 15).mean() > 0.005,
    "clutter": lambda shot: shot.share("clutter") > 0.15,
    "hand_passing": lambda shot: shot.share("hand") > 0.05,
    "fast_motion": lambda shot: abs(shot.scene.camera_pose(1.3).yaw - shot.scene.camera_pose(1.5).yaw) > 0.1,
    "one_plane": lambda shot: set(shot.names) == {"wall"},
}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_fills_the_picture_and_shows_its_trouble(name):
    shot = Shot(name)
    assert np.isfinite(shot.depth).all(), "no ray leaves the scene"
    assert shot.depth.min() > 0.1
    assert shot.left.std() > 3
    assert TROUBLE[name](shot)
