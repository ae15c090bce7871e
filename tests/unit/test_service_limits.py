"""How long each phase of the daemon may take."""

from __future__ import annotations

from depthd.config import Config
from depthd.phases import Phase
from depthd.service.watched import limits_of


def limits(**camera: object) -> dict[Phase, float]:
    return limits_of(Config.model_validate({"camera": camera, "service": {"camera_limit_s": 7, "model_limit_s": 500}}))


def test_a_device_that_hangs_is_given_up_soon():
    assert limits(kind="zed")[Phase.OPENING_CAMERA] == 7
    assert limits(kind="uvc")[Phase.OPENING_CAMERA] == 7


def test_the_virtual_camera_may_be_compiled_on_a_slow_machine():
    assert limits(kind="virtual")[Phase.OPENING_CAMERA] == 500


def test_every_phase_has_a_limit_and_a_slow_camera_a_longer_one():
    assert set(limits(kind="virtual")) == set(Phase)
    assert limits(kind="virtual", fps=0.5)[Phase.FRAME] == 6.0
