"""Boots a real systemd over a throw-away view of this machine, installs the service, and tests it inside.

What is tested stands in tests/system/guest/; each test there is one here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import pytest
from system.guest.lengths import KILLS, SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST = ROOT / "tests" / "system" / "guest"
BOOT = ROOT.parent / "shared" / "tools" / "systemd-boot"
FILES = sorted(GUEST.glob("test_*.py"))
TESTS = [
    f"{file.name}::{name}" for file in FILES for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
]
SLOW_KILL_S = 8
LIMIT_S = 900 + SLOW_KILL_S * KILLS + 2 * SECONDS
"""For a machine that others use too; what hangs inside has limits of its own."""
PROBE_S = 60
PASSED_ON = ("DEPTHD_SOAK", "DEPTHD_STRICT", "DEPTHD_KILLS", "DEPTHD_SECONDS", "DEPTHD_SEED")

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(LIMIT_S + 2 * PROBE_S)]


@dataclass
class Outcome:
    """What became of all cases of one test inside."""

    cases: int
    seconds: float
    failures: list[str]
    notes: list[str]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Boots once and runs what is selected. Skips where this machine cannot boot another one."""
    if not BOOT.exists():
        pytest.skip(f"{BOOT} is not here")
    if os.geteuid() != 0:
        pytest.skip("booting a machine needs root")
    if ROOT.is_relative_to("/tmp"):
        pytest.skip("the booted machine has a /tmp of its own: clone depthd elsewhere")
    for tool, package in (("systemd-nspawn", "systemd-container"), ("dbus-daemon", "dbus")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: apt-get install {package}")
    probe = boot([shutil.which("true") or "true"], PROBE_S)
    if probe.returncode != 0:
        pytest.skip(f"this machine boots no other one: {' '.join(probe.stderr.split())[-600:]}")
    results = tmp_path_factory.mktemp("guest")
    environment = [f"{name}={os.environ[name]}" for name in PASSED_ON if name in os.environ]
    inside = ["/usr/bin/env", *environment, GUEST / "run", sys.executable, ROOT, results, *selected(request.session)]
    booted = boot(inside, LIMIT_S, "-b", f"{results}:{results}")
    if not (results / "junit.xml").exists():
        pytest.fail(f"nothing was tested inside:\n{booted.stdout[-4000:]}\n{booted.stderr[-2000:]}")
    return read_outcomes(results / "junit.xml")


def selected(session: pytest.Session) -> list[str]:
    """The tests inside that are wanted: `-k` and node ids choose among them, and the others need not be run."""
    here = [item for item in session.items if isinstance(item, pytest.Function) and item.module.__name__ == __name__]
    return [item.callspec.params["test"] for item in here]


def boot(command: list[str | Path], limit_s: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a booted machine, which is ended after the limit whatever it does."""
    started = subprocess.Popen(
        [BOOT, "-t", str(limit_s), *options, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = started.communicate(timeout=limit_s + 30)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        output, errors = started.communicate()
        errors += f"\nnot over after {limit_s} s, and did not end by itself"
    return subprocess.CompletedProcess(started.args, started.returncode, output, errors)


def read_outcomes(junit: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        outcome = found.setdefault(case.get("name", "").split("[")[0], Outcome(0, 0.0, [], []))
        outcome.cases += 1
        outcome.seconds += float(case.get("time", 0))
        outcome.failures += [
            f"{case.get('name')}\n{part.text}" for kind in ("failure", "error", "skipped") for part in case.iter(kind)
        ]
        outcome.notes += [note.get("value", "") for note in case.iter("property")]
    return found


@pytest.mark.parametrize("test", TESTS, ids=[test.partition("::")[2] for test in TESTS])
def test_service(test: str, outcomes: dict[str, Outcome], capsys: pytest.CaptureFixture[str]):
    name = test.partition("::")[2]
    assert name in outcomes, "it was not run inside"
    outcome = outcomes[name]
    with capsys.disabled():
        print(f"\n  {outcome.seconds:.1f} s", end="")
        for note in outcome.notes:
            print(f"\n  {note}", end="")
    assert outcome.cases > 0
    assert not outcome.failures, "\n\n".join(outcome.failures)
