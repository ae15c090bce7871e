"""The configuration: a typed tree, checked before anything starts.

The descriptions below are the only place where a knob is explained; config/depthd.yaml and `depthd config
show` are printed from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from depthd import config_file
from depthd.config_file import Octal, Section
from depthd.device import DeviceChoice

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Plane = Literal["left", "stereo_depth", "mono", "xyz"]
"""What a slot can carry beside depth, source and sigma, which are always there."""
Resolution = Literal["HD2K", "HD1080", "HD720", "VGA"]
ZedResolution = Literal["HD4K", "QHDPLUS", "HD2K", "HD1536", "HD1200", "HD1080", "HD720", "SVGA", "VGA"]


class VirtualCameraConfig(Section):
    kind: Literal["virtual"] = Field("virtual", description="A rendered room that needs no hardware")
    resolution: Resolution = Field("VGA", description="Picture size: 2208x1242, 1920x1080, 1280x720 or 672x376 px")
    fps: PositiveFloat = Field(15.0, description="Frames per second")
    seed: int = Field(0, description="Seed of the scene and of the sensor's noise; the same seed, the same pictures")
    scene: str = Field("room", description="Which scene is rendered")
    depth: Literal["matcher", "sensor"] = Field(
        "matcher",
        description="Where stereo depth comes from: `matcher` matches the two rendered pictures; `sensor` "
        "hands out the true depth as a ZED would, with its minimum range, its left band and its noise",
    )
    minimum_depth_m: PositiveFloat = Field(
        0.3, description="Nearer than this (m), the sensor gives -inf; only with depth: sensor"
    )
    real_time: bool = Field(
        True,
        description="true: frames come at `fps`, late ones are dropped; false: as fast as they are taken",
    )


class RecordingCameraConfig(Section):
    kind: Literal["recording"] = Field("recording", description="Rectified pictures from files")
    path: Path = Field(description="Folder of pictures, or of one pair left.png and right.png, or a side-by-side video")
    camera_file: Path | None = Field(
        None, description="Calibration (camera.json); null: the one that lies beside the pictures"
    )
    fps: PositiveFloat = Field(15.0, description="Frames per second at which the recording is played")
    loop: bool = Field(True, description="Start again at the end instead of stopping")
    real_time: bool = Field(
        True,
        description="true: frames come at `fps`, late ones are dropped; false: as fast as they are taken",
    )
    right: bool = Field(
        False, description="Also read the right picture where there is depth, which only `depthd capture` needs"
    )


class ZedCameraConfig(Section):
    kind: Literal["zed"] = Field("zed", description="A Stereolabs ZED through its SDK (pyzed)")
    serial: int | None = Field(
        None, description="Serial number; null: by index. At most one of serial, index, svo and stream"
    )
    index: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of the camera among those attached; null: the first one found"
    )
    svo: Path | None = Field(None, description="Play this SVO file instead of a camera")
    stream: str | None = Field(None, description="Take the stream of another computer, `ip:port`")
    resolution: ZedResolution = Field(
        "HD720", description="Of a live camera; the ZED 2 family has HD2K to VGA, the ZED X HD1200 to SVGA"
    )
    fps: Annotated[int, Field(ge=0, le=120)] = Field(
        30, description="Frames per second of a live camera; 0: the fastest of the resolution"
    )
    depth_mode: Literal["PERFORMANCE", "QUALITY", "ULTRA", "NEURAL_LIGHT", "NEURAL", "NEURAL_PLUS"] = Field(
        "NEURAL", description="How the SDK matches; NEURAL_LIGHT needs SDK 5, NEURAL_PLUS SDK 4.1"
    )
    minimum_depth_m: Annotated[float, Field(gt=0, le=3)] = Field(
        0.3, description="The SDK looks no nearer (m); nearer limits cost GPU memory"
    )
    maximum_depth_m: PositiveFloat = Field(20.0, description="The SDK looks no farther (m)")
    confidence_threshold: Annotated[int, Field(ge=0, le=100)] = Field(
        95, description="Depth less sure than this is left out; the SDK counts 1 as sure, 100 as unsure"
    )
    texture_confidence_threshold: Annotated[int, Field(ge=0, le=100)] = Field(
        100, description="Leaves out depth on surfaces with little texture; 100: nothing is left out"
    )
    fill: bool = Field(
        False,
        description="Let the SDK invent depth in its holes; depthd could not tell it from measured depth",
    )
    stabilization: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="Smoothing over time in the SDK; above 0 it also tracks its position"
    )
    self_calibration: bool = Field(True, description="Let the SDK refine the calibration at every opening")
    image_enhancement: bool = Field(True, description="Let the SDK enhance the picture's contrast and colour")
    exposure_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Of the frame's time; null: automatic"
    )
    gain_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(None, description="null: automatic")
    gpu: Annotated[int, Field(ge=-1)] = Field(-1, description="CUDA device of the SDK; -1: the SDK chooses")
    memory: Literal["cpu", "gpu"] = Field(
        "cpu", description="Where pictures and depth are handed out; `gpu` needs SDK 5 and CuPy"
    )
    right: bool = Field(False, description="Also fetch the right picture, which only recordings need")
    raw: bool = Field(False, description="Unrectified pictures and no depth; only for `depthd capture`")
    open_timeout_s: PositiveFloat = Field(5.0, description="The SDK looks this long for the camera (s)")
    real_time: bool = Field(True, description="SVO: play at the recorded pace, dropping frames, or every frame")
    loop: bool = Field(False, description="SVO: start again at the end instead of stopping")
    start_frame: Annotated[int, Field(ge=0)] = Field(0, description="SVO: begin at this frame")


class UvcCameraConfig(Section):
    kind: Literal["uvc"] = Field("uvc", description="A USB camera without an SDK: ZED, side by side, webcam")
    device: str = Field("/dev/video0", description="Device, its number, or a video file recorded from such a device")
    layout: Literal["side_by_side", "mono"] = Field(
        "side_by_side",
        description="`side_by_side`: left half, left eye; `mono`: a webcam, relative depth only",
    )
    resolution: Resolution = Field(
        "HD720", description="A ZED's mode: 4416x1242, 3840x1080, 2560x720 or 1344x376 px for both eyes"
    )
    width: PositiveInt | None = Field(
        None, description="Of the whole picture (px), with `height`, for cameras other than a ZED"
    )
    height: PositiveInt | None = Field(None, description="Of the picture (px), with `width`")
    fps: Annotated[int, Field(ge=0, le=240)] = Field(0, description="Frames per second; 0: the camera's choice")
    pixel_format: Annotated[str, Field(pattern=r"^[A-Z0-9]{4}$")] = Field(
        "YUYV", description="V4L2 format; a ZED gives YUYV, many other cameras are faster with MJPG"
    )
    calibration: Path | None = Field(
        None,
        description="A ZED's SN<serial>.conf, or an OpenCV YAML with Size, K_LEFT, K_RIGHT, D_LEFT, D_RIGHT, "
        "R and T; null: looked for in settings_dir, and without any, depth is relative",
    )
    calibration_unit: Literal["mm", "m"] = Field("mm", description="Unit of T in an OpenCV calibration")
    serial: PositiveInt | None = Field(None, description="Chooses SN<serial>.conf in settings_dir")
    settings_dir: Path = Field(Path("/usr/local/zed/settings"), description="Where the ZED tools keep calibrations")
    raw: bool = Field(False, description="Unrectified pictures; only for `depthd capture`")
    frame_timeout_s: PositiveFloat = Field(2.0, description="Without a frame for so long (s), the camera is lost")
    real_time: bool = Field(True, description="Video file: play at its pace, dropping frames, or every frame")
    loop: bool = Field(False, description="Video file: start again at the end instead of stopping")


CameraConfig = Annotated[
    VirtualCameraConfig | RecordingCameraConfig | ZedCameraConfig | UvcCameraConfig,
    Field(discriminator="kind"),
]


class MatcherConfig(Section):
    model: str | None = Field(
        None,
        description="A stereo network that matches instead (name or .onnx file, output_kind: disparity); "
        "null: the block matcher, which the other keys are about",
    )
    maximum_disparity_px: PositiveInt | None = Field(
        None,
        description="Largest disparity searched (px); nearer surfaces are found with a larger one, slower; "
        "null: chosen from the width of the picture",
    )
    downscale: Annotated[int, Field(ge=1, le=4)] = Field(
        1, description="Match at 1/1, 1/2, ... of the size: faster, coarser"
    )
    block_size_px: Annotated[int, Field(ge=1, le=21)] = Field(
        5, description="Side of the matched block (px, odd); larger is smoother"
    )
    left_right_tolerance_px: PositiveFloat = Field(
        1.0, description="A match found from the left must be found from the right within this (px)"
    )
    uniqueness_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        10, description="The best match must be better than the second by this (%)"
    )
    speckle_size_px: Annotated[int, Field(ge=0)] = Field(
        100, description="Islands of disparity smaller than this (px of area) are dropped; 0: keep all"
    )


class MonoConfig(Section):
    engine: Literal["auto", "tensorrt", "onnx"] = Field(
        "auto",
        description="What runs the network. `tensorrt`: an engine made by `depthd engine build`; `onnx`: "
        "ONNX Runtime; `auto`: TensorRT where a right engine for this GPU is there, else ONNX Runtime, and "
        "the log says why",
    )
    model: str = Field(
        "depthd-small",
        description="A name in weights/manifest.yaml (`depthd weights list`), or the path of an .onnx file",
    )
    weights_dir: Path | None = Field(
        None, description="Folder of fetched models and built engines; null: the one that comes with depthd"
    )
    short_side_px: PositiveInt | None = Field(
        None,
        description="Short side of the network's input (px); the aspect is kept and both sides are "
        "rounded to what the network takes. null: as the model's card says",
    )
    aspect: Literal["keep", "square"] = Field(
        "keep", description="`square` squeezes the picture to 1:1, which costs accuracy; for comparison only"
    )
    precision: Literal["fp16", "fp32"] = Field(
        "fp16",
        description="Of the network on a GPU, in TensorRT and in ONNX Runtime; on a CPU it is always fp32. "
        "What is wrong in fp16 is refused, and float32 takes over where `engine` allows",
    )
    providers: tuple[Literal["tensorrt", "cuda", "cpu"], ...] = Field(
        ("cuda", "cpu"),
        description="What ONNX Runtime uses, in this order, of what it has. With `tensorrt` it builds "
        "engines of its own at every start, for minutes; prefer `depthd engine build`",
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        2,
        description="CPU threads of the network; 0: one per core. Leave cores to the matcher and the fusion",
    )


class FusionConfig(Section):
    backend: Literal["auto", "cpu", "reference"] = Field(
        "auto",
        description="auto = on the GPU or in C, as `device` says; cpu = in C on all cores; reference = the "
        "readable NumPy specification, slow",
    )
    threads: Annotated[int, Field(ge=0)] = Field(0, description="threads of the cpu backend; 0 = all cores")
    prefer: Literal["nearer", "stereo", "mono"] = Field(
        "nearer", description="whom to believe where stereo and mono contradict; nearer is safe for a robot"
    )
    minimum_depth_m: PositiveFloat = Field(0.1, description="no published depth is smaller, m")
    maximum_depth_m: PositiveFloat = Field(40.0, description="no published depth of mono is larger, m")
    stereo_minimum_depth_m: PositiveFloat = Field(0.1, description="nearer stereo is too near, m")
    stereo_maximum_depth_m: PositiveFloat = Field(40.0, description="farther stereo is too far, m")
    stereo_noise_px: PositiveFloat = Field(0.5, description="standard deviation of stereo disparity, px")
    gate_sigmas: PositiveFloat = Field(
        1.2, description="stereo is overruled when it differs from fitted mono by more standard deviations"
    )
    gate_minimum: Fraction = Field(
        0.08, description="smaller relative differences in inverse depth never overrule stereo"
    )
    mono_decay: Fraction = Field(
        0.85, description="weight that the frame before keeps, so that filled depth does not flicker; 0 = none"
    )
    memory_decay: Fraction = Field(
        0.9, description="weight that the samples of earlier frames keep from one frame to the next; 0 = none"
    )
    alignment_decay: Fraction = Field(0.7, description="the same for the local alignment, which follows the picture")
    minimum_inlier_share: Fraction = Field(
        0.5, description="a fit that fewer of the plausible samples agree with is refused"
    )
    minimum_agreement: Fraction = Field(
        0.3,
        description="a fit is refused where stereo and mono agree in fewer samples than this, beyond chance "
        "(Cohen's kappa)",
    )
    minimum_significance: PositiveFloat = Field(
        6.0, description="a fit whose scale is fewer standard errors from zero is refused"
    )
    maximum_age_frames: Annotated[int, Field(ge=0)] = Field(
        30, description="how long the last good fit is held before only stereo is published, frames"
    )


class SharedMemoryConfig(Section):
    slots: Annotated[int, Field(ge=3, le=64)] = Field(
        4, description="Frames in the ring; more gives slow readers more time before a frame is overwritten"
    )
    planes: tuple[Plane, ...] = Field(
        ("left", "stereo_depth"), description="What is published beside depth, source and sigma"
    )
    mode: Annotated[int, Field(ge=0, le=0o777), Octal()] = Field(
        0o640,
        description="File mode of the shared memory, in octal (0o640: the owner writes, the group reads)",
    )
    keep_after_exit: bool = Field(
        False,
        description="Leave the object in place at a clean stop, so that readers stay attached over a restart",
    )


class RealtimeConfig(Section):
    scheduling: Literal["other", "fifo"] = Field(
        "other", description="`fifo` puts every thread of the daemon before all ordinary processes"
    )
    priority: Annotated[int, Field(ge=1, le=98)] = Field(
        10, description="Real-time priority, only with scheduling: fifo; the watchdog's is one higher"
    )
    cpu_affinity: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="CPUs that the daemon may use, for example [2, 3]; empty: all"
    )
    lock_memory: bool = Field(False, description="Keep all memory from being swapped out (mlockall)")
    freeze_garbage: bool = Field(True, description="After warm-up, spare the garbage collector what lives for ever")


class MetricsConfig(Section):
    enabled: bool = Field(False, description="Serve Prometheus metrics; needs depthd[metrics]")
    address: str = Field("127.0.0.1", description="Address to listen on; other machines need 0.0.0.0")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(9464, description="TCP port")


class ServiceConfig(Section):
    statistics_period_s: PositiveFloat = Field(5.0, description="Seconds between two lines of statistics in the log")
    camera_limit_s: PositiveFloat = Field(
        30.0, description="Opening the camera may take this long (s) before the process is ended"
    )
    model_limit_s: PositiveFloat = Field(
        600.0, description="Loading the model, building its engine and the first frame may take this long (s)"
    )
    frame_limit_s: PositiveFloat = Field(
        2.0, description="One frame may take this long (s), or three periods of a slow camera"
    )


def _adjustable(key: str) -> str:
    section, _, leaf = key.partition(".")
    known = ADJUSTABLE.get(section)
    if known is None or leaf not in known.model_fields or leaf in ("backend", "threads", "model"):
        raise ValueError(f"should be a key of {' or '.join(ADJUSTABLE)} that needs no restart")
    return key


ADJUSTABLE: dict[str, type[Section]] = {"fusion": FusionConfig, "matcher": MatcherConfig}
"""Sections whose keys can change between two frames."""


class ControlConfig(Section):
    enabled: bool = Field(
        False,
        description="Open a socket over which the keys below can be changed while depthd runs, until it is reloaded "
        "or started again; `depthd view` offers them to those who have its token",
    )
    adjustable: tuple[Annotated[str, AfterValidator(_adjustable)], ...] = Field(
        ("fusion.prefer", "fusion.gate_sigmas", "fusion.gate_minimum", "fusion.memory_decay", "fusion.maximum_depth_m"),
        description="Which keys: of `fusion` or `matcher`",
    )
    socket: Path | None = Field(
        None, description="Path of the socket; null: <name>.control in systemd's or the user's runtime directory"
    )
    mode: Annotated[int, Field(ge=0, le=0o777), Octal()] = Field(
        0o660, description="File mode of the socket, in octal (0o660: the owner and the group may change the keys)"
    )


class Config(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        "depthd",
        description="Name of the shared-memory object, which readers open: letters, digits, `_`, `.`, `-`",
    )
    device: DeviceChoice = Field(
        "auto",
        description="Where frames are fused. `cuda`: on the GPU, or the daemon ends; `auto`: there if it can "
        "be used, else on the CPU, and the log says why",
    )
    camera: CameraConfig = Field(VirtualCameraConfig(), description="Where pictures come from")
    matcher: MatcherConfig = Field(
        MatcherConfig(), description="Stereo matching, for cameras that give two pictures and no depth"
    )
    mono: MonoConfig = Field(MonoConfig(), description="The monocular depth network")
    fusion: FusionConfig = Field(FusionConfig(), description="Fitting mono to stereo and merging the two")
    shared_memory: SharedMemoryConfig = Field(SharedMemoryConfig(), description="Where the result is published")
    realtime: RealtimeConfig = Field(RealtimeConfig(), description="Priority over other processes")
    metrics: MetricsConfig = Field(MetricsConfig(), description="Numbers for Prometheus")
    control: ControlConfig = Field(ControlConfig(), description="What may be changed while depthd runs")
    service: ServiceConfig = Field(
        ServiceConfig(), description="How long what may take, and how often the daemon says how it is"
    )


def load(path: Path | None = None, overrides: list[str] | None = None) -> Config:
    """Reads a YAML file (or none: all defaults) and applies `key.path=value` overrides.

    Raises UsageError that names every wrong key with its full path, the value found, and the file's line.
    """
    return config_file.read(Config, path, overrides)


def checked(data: dict[str, Any]) -> Config:
    """A tree from plain data. Raises UsageError as `load` does."""
    return config_file.build(Config, data, "`depthd config show` prints every key with its meaning")


def to_yaml(config: Config) -> str:
    """The effective tree as commented YAML, which `load` reads back as the same tree."""
    return config_file.to_yaml(config)


def default_yaml() -> str:
    """Every knob with its default and meaning, of all kinds of camera: the text of config/depthd.yaml."""
    head = (
        "# Every knob of depthd with its default. Printed by `python -m depthd.config`; change it there.\n"
        "# A file of your own needs only the keys that differ.\n"
    )
    return head + "\n" + config_file.to_yaml(Config(), alternatives=True)


if __name__ == "__main__":
    print(default_yaml(), end="")
