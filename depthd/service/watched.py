"""How long each phase may take before the process is ended."""

from __future__ import annotations

import faulthandler

from depthd._watchdog import Watchdog
from depthd.config import Config
from depthd.phases import Phase


class WatchedPhases:
    """Phases under the eyes of a thread that ends the process past a limit (kernels/watchdog.h).

    limits_s: seconds for every phase. notify_socket, ping_period_s: where and how often to tell systemd that
    all is well; None and 0 outside systemd.
    """

    def __init__(self, limits_s: dict[Phase, float], notify_socket: str | None, ping_period_s: float) -> None:
        # On SIGABRT it shows where every thread stood, without Python's lock.
        faulthandler.enable()
        self._watchdog = Watchdog(notify_socket, ping_period_s)
        self._numbers = {phase: self._watchdog.declare(phase.value, limits_s[phase]) for phase in Phase}

    def enter(self, phase: Phase) -> None:
        self._watchdog.enter(self._numbers[phase])

    def ready(self) -> None:
        """The service has started: systemd needs no more time for it."""
        self._watchdog.ready()

    def guard(self, header_address: int) -> None:
        """Shared memory to mark as lost if the process has to be ended; 0 = none, before it is unmapped."""
        self._watchdog.guard(header_address)

    def close(self) -> None:
        self._watchdog.stop()


STOP_LIMIT_S = 5.0
WAIT_LIMIT_S = 30.0
PERIODS_PER_FRAME = 3
SLOWEST_FPS = 15.0
"""Where the camera itself chooses its rate: no ZED's mode is slower."""


def limits_of(config: Config) -> dict[Phase, float]:
    """Seconds for every phase. A slow camera's frame takes as long as its period."""
    service = config.service
    # The virtual camera is no device that could hang, and at its first opening it is compiled.
    opening_s = service.model_limit_s if config.camera.kind == "virtual" else service.camera_limit_s
    return {
        Phase.OPENING_CAMERA: opening_s,
        Phase.LOADING_MODEL: service.model_limit_s,
        Phase.FIRST_FRAME: service.model_limit_s,
        Phase.FRAME: max(service.frame_limit_s, PERIODS_PER_FRAME / (config.camera.fps or SLOWEST_FPS)),
        Phase.WAITING: WAIT_LIMIT_S,
        Phase.STOPPING: STOP_LIMIT_S,
    }
