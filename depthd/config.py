"""The configuration: a typed tree, checked before anything starts. Every knob is explained in config/depthd.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from depthd.errors import UsageError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Plane = Literal["left", "stereo_depth", "mono"]
"""What a slot can carry beside depth, source and sigma, which are always there."""
Resolution = Literal["HD2K", "HD1080", "HD720", "VGA"]


class Section(BaseModel):
    """A part of the tree; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VirtualCameraConfig(Section):
    kind: Literal["virtual"] = "virtual"
    resolution: Resolution = "VGA"
    fps: PositiveFloat = 15.0
    seed: int = 0
    scene: str = "room"
    depth: Literal["matcher", "sensor"] = "matcher"
    minimum_depth_m: PositiveFloat = 0.3
    real_time: bool = True


class RecordingCameraConfig(Section):
    kind: Literal["recording"] = "recording"
    path: Path
    camera_file: Path | None = None
    fps: PositiveFloat = 15.0
    loop: bool = True
    real_time: bool = True


CameraConfig = Annotated[VirtualCameraConfig | RecordingCameraConfig, Field(discriminator="kind")]


class MatcherConfig(Section):
    maximum_disparity_px: PositiveInt | None = None
    downscale: Annotated[int, Field(ge=1, le=4)] = 1
    block_size_px: Annotated[int, Field(ge=1, le=21)] = 5
    left_right_tolerance_px: PositiveFloat = 1.0
    uniqueness_percent: Annotated[int, Field(ge=0, le=100)] = 10
    speckle_size_px: Annotated[int, Field(ge=0)] = 100


class MonoConfig(Section):
    engine: Literal["onnx"] = "onnx"
    model: str = "depthd-small"
    threads: Annotated[int, Field(ge=0)] = 2
    short_side_px: PositiveInt | None = None


class FusionConfig(Section):
    backend: Literal["cpu", "reference"] = Field(
        "cpu", description="cpu = C extension on all cores; reference = the readable NumPy specification, slow"
    )
    threads: Annotated[int, Field(ge=0)] = Field(0, description="threads of the cpu backend; 0 = all cores")
    prefer: Literal["nearer", "stereo", "mono"] = Field(
        "nearer", description="whom to believe where stereo and mono contradict; nearer is safe for a robot"
    )
    minimum_depth_m: PositiveFloat = Field(0.1, description="no published depth is smaller, m")
    maximum_depth_m: PositiveFloat = Field(40.0, description="no published depth of mono is larger, m")
    stereo_minimum_depth_m: PositiveFloat = Field(0.1, description="nearer stereo values count as too near, m")
    stereo_maximum_depth_m: PositiveFloat = Field(40.0, description="farther stereo values count as too far, m")
    stereo_noise_px: PositiveFloat = Field(0.5, description="standard deviation of stereo disparity, px")
    gate_sigmas: PositiveFloat = Field(
        3.0, description="stereo is overruled when it differs from fitted mono by more standard deviations"
    )
    gate_minimum: Fraction = Field(
        0.1, description="smaller relative differences in inverse depth never overrule stereo"
    )
    memory_decay: Fraction = Field(
        0.9, description="weight that the samples of earlier frames keep from one frame to the next; 0 = none"
    )
    alignment_decay: Fraction = Field(
        0.7, description="the same for the local alignment, which follows the picture"
    )
    minimum_inlier_share: Fraction = Field(
        0.4, description="a fit that fewer of the plausible samples agree with is refused"
    )
    minimum_agreement: Fraction = Field(
        0.3, description="a fit is refused where stereo and mono, outliers included, correlate less than this"
    )
    minimum_significance: PositiveFloat = Field(
        6.0, description="a fit whose scale is fewer standard errors from zero is refused"
    )
    maximum_age_frames: Annotated[int, Field(ge=0)] = Field(
        30, description="how long the last good fit is held before only stereo is published, frames"
    )


class SharedMemoryConfig(Section):
    slots: Annotated[int, Field(ge=3, le=64)] = 4
    planes: tuple[Plane, ...] = ("left", "stereo_depth")
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0o640
    keep_after_exit: bool = False


class Config(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "depthd"
    camera: CameraConfig = VirtualCameraConfig()
    matcher: MatcherConfig = MatcherConfig()
    mono: MonoConfig = MonoConfig()
    fusion: FusionConfig = FusionConfig()
    shared_memory: SharedMemoryConfig = SharedMemoryConfig()


def load(path: Path | None = None, overrides: list[str] | None = None) -> Config:
    """Reads a YAML file (or none: all defaults) and applies `key.path=value` overrides. Raises UsageError."""
    raise NotImplementedError
