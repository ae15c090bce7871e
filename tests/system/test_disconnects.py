"""A real daemon whose camera goes away again and again (the thousand of benchmarks/disconnects.py, scaled down)."""

from __future__ import annotations

import os

import disconnects
import pytest

COUNT = int(os.environ.get("DEPTHD_DISCONNECTS", "12"))
"""1000 for the full count."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sdk", ["4.2", "5.2"])
def test_a_daemon_lives_through_lost_cameras_and_leaks_nothing(sdk: str) -> None:
    why_not = disconnects.can_run()
    if why_not:
        pytest.skip(why_not)
    outcome = disconnects.run(COUNT, sdk)
    assert len(outcome.back_s) == COUNT
    assert outcome.frames >= COUNT
    assert outcome.torn == 0
    assert outcome.after["threads"] == outcome.before["threads"]
    assert outcome.after["open files"] == outcome.before["open files"]
    assert outcome.after["memory MB"] <= outcome.before["memory MB"] + 8
