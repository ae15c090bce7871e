"""Boots a real systemd over a throw-away view of this machine, installs the service, and tests it inside.

What is tested stands in tests/system/guest/test_installed_service.py; each test there is one here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST = ROOT / "tests" / "system" / "guest"
BOOT = ROOT.parent / "shared" / "tools" / "systemd-boot"
NAMES = re.findall(r"^def (test_\w+)", (GUEST / "test_installed_service.py").read_text(), re.MULTILINE)
SOAK = os.environ.get("DEPTHD_SOAK") == "1"
LIMIT_S = 9000 if SOAK else 1500

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(LIMIT_S + 60)]


@dataclass
class Outcome:
    """What became of all cases of one test inside."""

    cases: int
    failures: list[str]
    notes: list[str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Boots once and runs everything. Skips where this machine cannot boot another one."""
    if not BOOT.exists():
        pytest.skip(f"{BOOT} is not here")
    if os.geteuid() != 0:
        pytest.skip("booting a machine needs root")
    for tool, package in (("systemd-nspawn", "systemd-container"), ("dbus-daemon", "dbus")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: apt-get install {package}")
    results = tmp_path_factory.mktemp("guest")
    passed_on = ("DEPTHD_SOAK", "DEPTHD_STRICT")
    environment = [f"{name}={os.environ[name]}" for name in passed_on if name in os.environ]
    inside = ["/usr/bin/env", *environment, GUEST / "run", sys.executable, ROOT, results]
    booted = subprocess.run(
        [BOOT, "-t", str(LIMIT_S), "-b", f"{results}:{results}", *inside],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not (results / "junit.xml").exists():
        pytest.fail(f"nothing was tested inside:\n{booted.stdout[-4000:]}\n{booted.stderr[-2000:]}")
    return read_outcomes(results / "junit.xml")


def read_outcomes(junit: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        outcome = found.setdefault(case.get("name", "").split("[")[0], Outcome(0, [], []))
        outcome.cases += 1
        outcome.failures += [
            f"{case.get('name')}\n{part.text}" for kind in ("failure", "error", "skipped") for part in case.iter(kind)
        ]
        outcome.notes += [note.get("value", "") for note in case.iter("property")]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_service(name: str, outcomes: dict[str, Outcome], capsys: pytest.CaptureFixture[str]):
    assert name in outcomes, "it was not run inside"
    outcome = outcomes[name]
    with capsys.disabled():
        for note in outcome.notes:
            print(f"\n  {note}", end="")
    assert outcome.cases > 0
    assert not outcome.failures, "\n\n".join(outcome.failures)
