"""`depthd doctor`: everything that must be right on this machine: what is there, and how to mend it."""

from __future__ import annotations

import grp
import importlib.metadata
import os
import platform
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from depthd.config import Config
from depthd.errors import DepthdError

ZED_VENDOR = "2b03"
ZED_VIDEO_PRODUCTS = {"f580", "f582", "f680", "f682", "f780", "f880"}
SERVICE_USER = GROUP = "depthd"
HOT_CELSIUS = 85.0


class Verdict(str, Enum):
    """`ABSENT` is for what depthd can do without; only `FAIL` makes the exit status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    ABSENT = "absent"


@dataclass(frozen=True)
class Finding:
    """One line of the table; `remedy` is empty where nothing is to be done."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class System:
    """Where to look: the machine's own file tree, or a copy of one."""

    root: Path = Path("/")

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        try:
            return self.path(absolute).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return None


def examine(config: Config, system: System) -> list[Finding]:
    """Every finding, in the order of the table. Raises nothing for what is wrong with the machine."""
    return [finding for check in CHECKS for finding in check(config, system)]


def _versions(_config: Config, system: System) -> Iterator[Finding]:
    release = dict(line.split("=", 1) for line in (system.text("/etc/os-release") or "").splitlines() if "=" in line)
    name = release.get("PRETTY_NAME", "unknown system").strip('"')
    yield Finding("system", Verdict.OK, f"{name}, Linux {platform.release()}, {platform.machine()}")
    version = importlib.metadata.version("depthd")
    yield Finding("depthd", Verdict.OK, f"{version}, Python {platform.python_version()}")
    for library in ("numpy", "opencv-python-headless", "numba", "onnxruntime"):
        yield _library(library)


def _library(name: str) -> Finding:
    same_module = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python")}
    for candidate in (name, *same_module.get(name, ())):
        try:
            return Finding(name, Verdict.OK, importlib.metadata.version(candidate))
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(name, Verdict.FAIL, "not installed", "pip install 'depthd[daemon]'")


def _gpu(_config: Config, system: System) -> Iterator[Finding]:
    driver = system.text("/proc/driver/nvidia/version")
    tegra = system.text("/etc/nv_tegra_release")
    if driver is None and tegra is None:
        yield Finding("GPU", Verdict.ABSENT, "no NVIDIA driver; the CPU does the work")
    else:
        yield Finding("GPU", Verdict.OK, (tegra or driver or "").splitlines()[0])
    try:
        version = importlib.metadata.version("tensorrt")
        yield Finding("TensorRT", Verdict.OK, version)
    except importlib.metadata.PackageNotFoundError:
        yield Finding("TensorRT", Verdict.ABSENT, "not installed; ONNX Runtime does the work")
    sdk = system.path("/usr/local/zed")
    yield (
        Finding("ZED SDK", Verdict.OK, str(sdk))
        if sdk.is_dir()
        else Finding("ZED SDK", Verdict.ABSENT, "not in /usr/local/zed")
    )


def _cameras(_config: Config, system: System) -> Iterator[Finding]:
    devices = system.path("/sys/bus/usb/devices")
    found = []
    for device in sorted(devices.glob("*")) if devices.is_dir() else []:
        vendor, product = (_first_line(device / name) for name in ("idVendor", "idProduct"))
        if vendor == ZED_VENDOR and product in ZED_VIDEO_PRODUCTS:
            found.append((_first_line(device / "product") or product, _first_line(device / "speed")))
    if not found:
        yield Finding("camera", Verdict.ABSENT, "no ZED on USB")
    for name, speed in found:
        if speed and float(speed) < 5000:
            yield Finding(
                "camera",
                Verdict.WARN,
                f"{name} at {speed} Mbit/s",
                "use a USB 3 port: USB 2 carries VGA only",
            )
        else:
            yield Finding("camera", Verdict.OK, f"{name} at {speed or 'unknown'} Mbit/s")
    rules = [*system.path("/etc/udev/rules.d").glob("*zed*"), *system.path("/lib/udev/rules.d").glob("*zed*")]
    if rules:
        yield Finding("device rules", Verdict.OK, ", ".join(rule.name for rule in rules))
    else:
        verdict = Verdict.FAIL if found else Verdict.ABSENT
        yield Finding("device rules", verdict, "no udev rule for ZED", "sudo make install" if found else "")


def _permissions(_config: Config, _system: System) -> Iterator[Finding]:
    groups = {grp.getgrgid(number).gr_name for number in os.getgroups()}
    me = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0 or GROUP in groups:
        yield Finding("group depthd", Verdict.OK, f"{me} may read the service's shared memory")
    else:
        yield Finding(
            "group depthd",
            Verdict.WARN,
            f"{me} is not in it",
            f"sudo usermod -aG {GROUP} {me}, then log in again",
        )
    try:
        member = SERVICE_USER in grp.getgrnam("video").gr_mem
        pwd.getpwnam(SERVICE_USER)
    except KeyError:
        yield Finding("user depthd", Verdict.ABSENT, "the service is not installed")
        return
    if member:
        yield Finding("user depthd", Verdict.OK, "exists and is in group video")
    else:
        yield Finding("user depthd", Verdict.FAIL, "is not in group video", f"sudo usermod -aG video {SERVICE_USER}")


def _shared_memory(config: Config, system: System) -> Iterator[Finding]:
    folder = system.path("/dev/shm")
    if not folder.is_dir():
        yield Finding("/dev/shm", Verdict.FAIL, "does not exist", "mount a tmpfs there")
        return
    free_mib = shutil.disk_usage(folder).free / 2**20
    need_mib = _frame_mib(config) * config.shared_memory.slots
    if free_mib < need_mib:
        yield Finding(
            "/dev/shm", Verdict.FAIL, f"{free_mib:.0f} MiB free, {need_mib:.0f} MiB needed",
            "enlarge it (docker: --shm-size), or publish fewer slots or planes",
        )  # fmt: skip
    else:
        yield Finding("/dev/shm", Verdict.OK, f"{free_mib:.0f} MiB free, {need_mib:.0f} MiB needed")
    for path in sorted(folder.glob("depthd*")):
        yield _object(path)


def _frame_mib(config: Config) -> float:
    """An upper bound for the virtual camera; cameras of unknown size are taken as HD2K."""
    width, height = {"HD1080": (1920, 1080), "HD720": (1280, 720), "VGA": (672, 376)}.get(
        getattr(config.camera, "resolution", "HD2K"), (2208, 1242)
    )
    bytes_per_pixel = 4 + 1 + 2 + sum({"left": 3, "xyz": 12}.get(plane, 4) for plane in config.shared_memory.planes)
    return width * height * bytes_per_pixel / 2**20


def _object(path: Path) -> Finding:
    import depthd

    name = f"shared memory {path.name}"
    try:
        with depthd.open(path.name) as reader:
            if reader.writer_lives:
                return Finding(name, Verdict.OK, f"a writer is at work, state {reader.state.name.lower()}")
            return Finding(name, Verdict.WARN, "left by a writer that died", f"start depthd again, or rm {path}")
    except DepthdError as error:
        return Finding(name, Verdict.WARN, error.what, error.remedy)


def _model(config: Config, _system: System) -> Iterator[Finding]:
    from depthd.mono import open_engine

    try:
        open_engine(config.mono).close()
    except DepthdError as error:
        yield Finding("model", Verdict.FAIL, error.what, error.remedy)
    else:
        yield Finding("model", Verdict.OK, config.mono.model)


def _service(_config: Config, system: System) -> Iterator[Finding]:
    if not system.path("/run/systemd/system").is_dir():
        yield Finding("service", Verdict.ABSENT, "this system runs without systemd")
        return
    if not system.path("/etc/systemd/system/depthd.service").exists():
        yield Finding("service", Verdict.ABSENT, "not installed")
        return
    listed = _systemctl("list-units", "--all", "--plain", "--no-legend", "depthd@*.service")
    instances = [line.split()[0].removesuffix(".service") for line in listed.splitlines()]
    single = _unit("depthd")
    # With one unit a camera, depthd.service is not used.
    if not instances or not single.found.endswith("inactive"):
        yield single
    yield from (_unit(instance) for instance in instances)


def _unit(unit: str) -> Finding:
    name = "service" if unit == "depthd" else f"service {unit}"
    enabled, active = (_systemctl(word, unit) or "unknown" for word in ("is-enabled", "is-active"))
    if active == "failed":
        return Finding(name, Verdict.FAIL, "failed", f"journalctl -u {unit} -n 20 says why")
    if enabled != "enabled" or active != "active":
        return Finding(name, Verdict.WARN, f"{enabled}, {active}", f"sudo systemctl enable --now {unit}")
    return Finding(name, Verdict.OK, f"{enabled}, {active}")


def _systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()


def _clock(_config: Config, system: System) -> Iterator[Finding]:
    if time.time() < 1.7e9:
        yield Finding("clock", Verdict.FAIL, time.ctime(), "set it: timedatectl set-ntp true")
    elif system.path("/run/systemd/timesync/synchronized").exists():
        yield Finding("clock", Verdict.OK, "synchronised")
    else:
        yield Finding(
            "clock", Verdict.WARN, "not synchronised by systemd-timesyncd",
            "timedatectl set-ntp true, unless chrony or PTP keeps it; latencies do not depend on it",
        )  # fmt: skip


def _power(_config: Config, system: System) -> Iterator[Finding]:
    zones = system.path("/sys/class/thermal")
    hottest = max(
        (
            (float(text) / 1000, _first_line(zone.parent / "type") or zone.parent.name)
            for zone in sorted(zones.glob("thermal_zone*/temp"))
            if (text := _first_line(zone)) is not None
        ),
        default=None,
    )
    if hottest is None:
        yield Finding("temperature", Verdict.ABSENT, "no thermal zone")
    elif hottest[0] >= HOT_CELSIUS:
        yield Finding(
            "temperature",
            Verdict.WARN,
            f"{hottest[1]} {hottest[0]:.0f} °C",
            "the clock is throttled: cool it",
        )
    else:
        yield Finding("temperature", Verdict.OK, f"{hottest[1]} {hottest[0]:.0f} °C")
    if system.text("/etc/nv_tegra_release") is not None:
        mode = system.text("/var/lib/nvpmodel/status") or "unknown"
        full = mode.endswith(":0000") or mode.endswith(":0")
        remedy = "" if full else "sudo nvpmodel -m 0 && sudo jetson_clocks"
        yield Finding("power mode", Verdict.OK if full else Verdict.WARN, mode, remedy)


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


CHECKS: tuple[Callable[[Config, System], Iterator[Finding]], ...] = (
    _versions,
    _gpu,
    _cameras,
    _permissions,
    _shared_memory,
    _model,
    _service,
    _clock,
    _power,
)
