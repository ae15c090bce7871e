"""What `depthd doctor` makes of a machine, from copies of the files that it looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthd.config import Config
from depthd.doctor import Finding, System, Verdict, examine


def machine(root: Path, **files: str) -> System:
    """A file tree with /dev/shm and these files; '__' stands for '/'."""
    (root / "dev/shm").mkdir(parents=True)
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return System(root)


def finding(system: System, name: str, config: Config | None = None) -> Finding:
    return next(found for found in examine(config or Config(), system) if found.name == name)


def test_a_machine_without_camera_and_gpu_is_fine(tmp_path: Path):
    findings = examine(Config(), machine(tmp_path))
    assert [found for found in findings if found.verdict == Verdict.FAIL] == []
    assert {"GPU", "camera", "ZED SDK"} <= {found.name for found in findings if found.verdict == Verdict.ABSENT}


def test_every_failure_and_warning_says_how_to_mend_it(tmp_path: Path):
    config = Config.model_validate({"mono": {"model": "no-such-model"}})
    for found in examine(config, machine(tmp_path)):
        assert found.remedy or found.verdict in (Verdict.OK, Verdict.ABSENT), found


@pytest.mark.parametrize(("speed", "verdict"), [("5000", Verdict.OK), ("480", Verdict.WARN)])
def test_a_zed_on_a_slow_port_is_warned_of(tmp_path: Path, speed: str, verdict: Verdict):
    bus = "sys__bus__usb__devices__2-1"
    system = machine(
        tmp_path,
        **{f"{bus}__idVendor": "2b03\n", f"{bus}__idProduct": "f880\n", f"{bus}__product": "ZED 2i\n"},
        **{f"{bus}__speed": f"{speed}\n"},
    )
    found = finding(system, "camera")
    assert found.verdict == verdict
    assert "ZED 2i" in found.found
    assert finding(system, "device rules").verdict == Verdict.FAIL, "a camera without its udev rule"


def test_a_hot_machine_is_warned_of(tmp_path: Path):
    zone = "sys__class__thermal__thermal_zone0"
    system = machine(tmp_path, **{f"{zone}__temp": "91000\n", f"{zone}__type": "gpu-thermal\n"})
    found = finding(system, "temperature")
    assert found.verdict == Verdict.WARN
    assert "gpu-thermal 91" in found.found


def test_a_jetson_in_a_saving_mode_is_warned_of(tmp_path: Path):
    system = machine(tmp_path, etc__nv_tegra_release="# R36", var__lib__nvpmodel__status="pmode:0002")
    assert finding(system, "power mode").verdict == Verdict.WARN


def test_a_missing_model_fails(tmp_path: Path):
    config = Config.model_validate({"mono": {"model": "no-such-model"}})
    assert finding(machine(tmp_path), "model", config).verdict == Verdict.FAIL
