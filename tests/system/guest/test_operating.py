"""What an operator does with an installed service: several cameras, checks, taking it away. Run last."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import depthd

Service = Any

UNITS = ("depthd.service", "depthd@1001.service", "depthd-tidy.service", "depthd-view.service")
PROGRAM = "/opt/depthd/bin/depthd"
SMALL = "camera: {{kind: virtual, seed: {seed}, fps: 5}}\nmono: {{short_side_px: 96}}\n"


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()


def test_systemd_understands_every_line_of_the_units():
    checked = subprocess.run(["systemd-analyze", "verify", *UNITS], capture_output=True, text=True, check=False)
    ours = [line for line in (checked.stdout + checked.stderr).splitlines() if "depthd" in line]
    assert ours == []
    assert checked.returncode == 0


@pytest.fixture
def cameras() -> Iterator[tuple[str, str]]:
    """Two instances, started together; gone afterwards."""
    serials = ("1001", "1002")
    for serial in serials:
        Path(f"/etc/depthd/{serial}.yaml").write_text(SMALL.format(seed=serial))
    units = [f"depthd@{serial}" for serial in serials]
    subprocess.run(["systemctl", "enable", "--now", *units], check=True, capture_output=True)
    yield serials
    subprocess.run(["systemctl", "disable", "--now", *units], check=False, capture_output=True)
    for serial in serials:
        Path(f"/etc/depthd/{serial}.yaml").unlink()


def test_two_cameras_are_two_instances_that_know_nothing_of_each_other(service: Service, cameras: tuple[str, str]):
    with depthd.open("depthd-1001") as first, depthd.open("depthd-1002") as second:
        dying, other = service.fresh_frame(first).writer_id, service.fresh_frame(second).writer_id
        assert dying != other
        os.kill(int(systemctl("show", "depthd@1001", "-P", "MainPID")), signal.SIGKILL)
        service.fresh_frame(first, not_from=dying)
        assert service.fresh_frame(second).writer_id == other
        systemctl("stop", "depthd@1001")
        assert not Path("/dev/shm/depthd-1001").exists()
        assert service.fresh_frame(second).writer_id == other


def test_the_doctor_looks_at_every_instance(cameras: tuple[str, str]):
    def findings() -> dict[str, dict[str, str]]:
        result = subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True, text=True, check=False)
        return {finding["name"]: finding for finding in json.loads(result.stdout)}

    for serial in cameras:
        assert findings()[f"service depthd@{serial}"]["verdict"] == "ok"
        assert findings()[f"shared memory depthd-{serial}"]["verdict"] == "ok"
    assert "service" not in findings(), "the unit for a single camera is not used"
    systemctl("stop", f"depthd@{cameras[0]}")
    stopped = findings().get(f"service depthd@{cameras[0]}")
    assert stopped is None or stopped["verdict"] == "warn"


def installed() -> list[Path]:
    places = ("/etc/systemd/system", "/etc/sysusers.d", "/etc/tmpfiles.d", "/etc/udev/rules.d", "/usr/local/bin")
    found = [path for place in places for path in Path(place).rglob("*depthd*")]
    return found + [path for path in (Path("/opt/depthd"), Path("/var/cache/depthd")) if path.exists()]


def test_zz_uninstalling_leaves_configuration_and_state_alone_unless_they_are_to_go_too(service: Service):
    service.configure("name: mine\n")
    assert service.start()
    assert len(installed()) > 5
    subprocess.run(["install", "-o", "depthd", "/dev/null", "/dev/shm/left-by-a-dead-one"], check=True)
    subprocess.run(["scripts/uninstall"], check=True, capture_output=True)
    assert installed() == []
    assert list(Path("/dev/shm").iterdir()) == []
    assert Path("/etc/depthd/depthd.yaml").read_text() == "name: mine\n"
    assert Path("/var/lib/depthd").exists()
    edited = Path("/etc/systemd/system/depthd@.service.d")
    edited.mkdir()
    subprocess.run(["scripts/uninstall"], check=True, capture_output=True, env={**os.environ, "PURGE": "1"})
    assert not Path("/etc/depthd").exists()
    assert not Path("/var/lib/depthd").exists()
    assert not edited.exists()
    Path("/etc/depthd").mkdir()  # for the fixture's end
