"""The device rules are read by the udev that is here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "systemd" / "99-depthd-zed.rules"


def test_udev_finds_nothing_wrong():
    udevadm = shutil.which("udevadm")
    if udevadm is None:
        pytest.skip("udevadm is missing: apt-get install udev")
    if subprocess.run([udevadm, "verify", "--help"], capture_output=True, check=False).returncode != 0:
        pytest.skip("udevadm verify comes with systemd 254")
    verified = subprocess.run([udevadm, "verify", RULES], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
