"""What the page shows beside the frames: the writer's process, versions, configuration in force,
temperature.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from depthd import config as configuration
from depthd import control
from depthd.errors import DepthdError
from depthd.shm.reader import open_reader

_PACKAGES = (
    "depthd",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "tensorrt",
    "aiohttp",
)
_THERMAL = Path("/sys/class/thermal")
_SENSORS = Path("/sys/class/hwmon")
_CONFIG_OPTIONS = {"-c": "config", "--config": "config", "--set": "set"}


def health_of(name: str, socket: Path | None = None) -> dict[str, Any]:
    """Everything known about the writer of `name`, as JSON; never raises for what is not to be had."""
    report: dict[str, Any] = {
        "name": name,
        "versions": _versions(),
        "temperature_c": temperatures_c(),
        "viewer_pid": os.getpid(),
    }
    try:
        with open_reader(name) as reader:
            header = reader.header
            report["writer"] = {
                "pid": int(header["pid"]),
                "lives": reader.writer_lives,
                "state": reader.state.name.lower(),
                "deadline_misses": int(header["deadline_misses"]),
                "dropped": int(header["dropped"]),
                "reconnects": int(header["reconnects"]),
                "description": _text(header["description"]),
                "software": _text(header["software"]) if "software" in header.dtype.names else "",
            }
            report["configuration"] = in_force(name, socket) or configuration_of(int(header["pid"]))
    except DepthdError as error:
        report["error"] = str(error)
    return report


def in_force(name: str, socket: Path | None) -> str | None:
    """The configuration that the daemon itself says; None where it has no control socket."""
    try:
        return str(control.ask(socket or control.find_socket(name), {})["configuration"])
    except DepthdError:
        return None


def configuration_of(pid: int) -> str | None:
    """The daemon's configuration as YAML, read again from its command line; None where that is not to be
    seen.
    """
    try:
        process = Path("/proc") / str(pid)
        words = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        folder = process.joinpath("cwd").resolve(strict=True)
    except OSError:
        return None
    if "run" not in words:
        return None
    options: dict[str, list[str]] = {"config": [], "set": []}
    for word, value in zip(words, [*words[1:], ""], strict=True):
        option, equals, inline = word.partition("=")
        if word in _CONFIG_OPTIONS:
            options[_CONFIG_OPTIONS[word]].append(value)
        elif equals and option.startswith("--") and option in _CONFIG_OPTIONS:
            options[_CONFIG_OPTIONS[option]].append(inline)
    try:
        path = folder / options["config"][-1] if options["config"] else None
        return configuration.to_yaml(configuration.load(path, options["set"]))
    except DepthdError:
        return None


def temperatures_c() -> dict[str, float]:
    """Degrees Celsius of this machine's thermal zones and, where it has none, of its sensors; empty where it tells
    nothing. Jetsons and most boards have zones; a desktop's processor and AMD's GPUs are sensors.
    """
    zones: dict[str, float] = {}
    for zone in sorted(_THERMAL.glob("thermal_zone*")):
        _add_reading(zones, zone / "type", zone / "temp")
    for reading in sorted(_SENSORS.glob("hwmon*/temp1_input")) if not zones else ():
        _add_reading(zones, reading.with_name("name"), reading)
    return zones


def _add_reading(zones: dict[str, float], name: Path, millidegrees: Path) -> None:
    with suppress(OSError, ValueError):
        zones[name.read_text().strip()] = int(millidegrees.read_text()) / 1000


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _text(field: Any) -> str:
    raw = field if isinstance(field, bytes) else bytes(field)
    return raw.split(b"\0")[0].decode(errors="replace")
