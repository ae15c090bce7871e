"""Every way a stereo picture reaches depthd, behind one interface."""

from pathlib import Path

from depthd import paths
from depthd.cameras.base import CameraSource
from depthd.config import CameraConfig


def has_device(config: CameraConfig) -> bool:
    """Whether the camera is a device of this machine, which appears when it is plugged in; a stream or a file
    never does.
    """
    if config.kind == "zed":
        return config.svo is None and config.stream is None
    return config.kind == "uvc" and not Path(config.device).is_file()


def open_camera(config: CameraConfig) -> CameraSource:
    """Opens the camera that the configuration chooses, and loads the code of no other."""
    if config.kind == "virtual":
        from depthd.cameras.virtual import VirtualCamera

        return VirtualCamera(config, paths.cache_folder())
    if config.kind == "zed":
        from depthd.cameras.zed import ZedCamera

        return ZedCamera(config)
    if config.kind == "uvc":
        from depthd.cameras.uvc import UvcCamera

        return UvcCamera(config)
    if config.path.suffix == ".mcap":
        from depthd.cameras.mcap import McapCamera

        return McapCamera(config.path, config.fps, config.loop, config.real_time)
    from depthd.cameras.recording import open_recording

    return open_recording(config)
