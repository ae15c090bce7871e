"""The installed service, with systemd as process 1: start, death, stop, reload, bad surroundings."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from system.guest import machine
from system.guest.lengths import KILLS, SECONDS, SEED
from system.guest.restarts import Restart, add_stages, medians, write
from system.guest.soak import Soak, histogram, percentiles, resident_mib

import depthd
from depthd.errors import DepthdError
from depthd.shm.errors import NotRunning
from depthd.shm.layout import CameraState

Service = Any
Reach = Callable[[str, float, float], None]
Note = Callable[[str], None]

RELOADS = 1000
LATE_S = 2.5
MOST_NOTED = 20
RESULTS = Path(os.environ.get("DEPTHD_RESULTS", "/run"))
"""Outlives the machine that is booted: tables that are too long to print."""
PROGRAM = "/opt/depthd/bin/depthd"
PYTHON = "/opt/depthd/bin/python"
CACHES = ("CACHE_DIRECTORY=/var/cache/depthd", "NUMBA_CACHE_DIR=/var/cache/depthd/numba")
WALK = "/var/lib/depthd/walk"
LIGHT = f"""
camera: {{kind: recording, path: {WALK}, fps: 30}}
mono: {{short_side_px: 96}}
shared_memory: {{planes: [left]}}
"""
"""Thirty frames a second on two ordinary cores: pictures and depth from files, a small network."""


def median(values: list[float]) -> float:
    return float(np.median(values))


def processes_of_the_service() -> list[int]:
    found = []
    for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"):
        file = Path(folder, "system.slice/depthd.service/cgroup.procs")
        if file.exists():
            found = [int(line) for line in file.read_text().split()]
            break
    # 0 is a process that cannot be seen from here: of another booted machine, which has a unit of this name too.
    return [pid for pid in found if pid != 0]


def objects() -> list[str]:
    return sorted(path.name for path in Path("/dev/shm").glob("*depthd*"))


def test_ready_comes_with_the_first_frame(service: Service, reach: Reach):
    begin = time.monotonic()
    assert service.start(), service.journal()
    reach("start to READY, s", time.monotonic() - begin, 5.0)
    with depthd.open("depthd") as reader:
        assert reader.wait(timeout=1.0).id >= 1
    assert "first frame published" in service.show("StatusText")


def test_the_status_tells_rate_fit_and_sources(service: Service):
    service.configure("service: {statistics_period_s: 0.5}\n")
    service.start()
    end = time.monotonic() + 30
    while "frames/s" not in (text := service.show("StatusText")):
        assert time.monotonic() < end, text
        time.sleep(0.2)
    assert "virtual" in text
    assert "fit" in text
    assert "stereo" in text


def test_the_journal_has_fields(service: Service):
    service.start()
    entries = [json.loads(line) for line in service.journal("-o", "json").splitlines()]
    ready = next(entry for entry in entries if "is published" in entry["MESSAGE"])
    assert ready["FRAME_ID"] == "0"
    assert "virtual" in ready["CAMERA"]
    assert ready["STAGE"] == "published"


class WatchingReader(threading.Thread):
    """Reads every frame, never reopened, and notes every one that is not whole."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.reader = depthd.open("depthd")
        self.frames: list[tuple[int, float]] = []  # writer id, when
        self.torn = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                frame = self.reader.wait(timeout=0.2).copy()
            except DepthdError:
                continue
            counted = np.bincount(frame.source.ravel(), minlength=6)
            self.torn += tuple(counted[:6]) != tuple(frame.pixels_per_source[:6])
            self.frames.append((frame.writer_id, time.monotonic()))

    def fresh_after(self, moment: float, old_writer: int) -> tuple[int, float]:
        """The first frame of another writer after that moment, and how long it took."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for writer, when in reversed(self.frames):
                if when < moment:
                    break
                if writer != old_writer:
                    first = next(at for other, at in self.frames if other == writer)
                    return writer, first - moment
            time.sleep(0.01)
        pytest.fail("no fresh frame within a minute")


@pytest.mark.timeout(3600)
def test_killed_at_random_moments_it_is_back_and_no_reader_sees_a_torn_frame(
    service: Service, reach: Reach, note: Note
):
    # Being killed this often is no fault of the daemon's.
    service.drop_in("[Unit]\nStartLimitIntervalSec=0\n")
    service.start()
    reader = WatchingReader()
    reader.start()
    moments = random.Random(SEED)
    writer, _ = reader.fresh_after(0.0, old_writer=0)
    restarts = []
    pid = service.pid
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.0, 1.0))
        before = machine.totals()
        moment = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        writer, gap = reader.fresh_after(moment, writer)
        meanwhile = machine.between(before, machine.totals())
        pid = service.pid
        started_s = int(service.show("ExecMainStartTimestampMonotonic")) / 1e6
        restarts.append(Restart(pid, moment, gap, started_s, meanwhile, machine.spent_by(pid)))
    reader.ended.set()
    reader.join()
    add_stages(restarts, service.journal("-o", "json"))
    write(restarts, RESULTS / "restarts.jsonl")
    gaps = [restart.gap_s for restart in restarts]
    assert reader.torn == 0
    assert len({identity for identity, _ in reader.frames}) == KILLS + 1
    assert objects() == ["depthd"]
    assert len(processes_of_the_service()) == 1
    reach(f"fresh frame after kill -9, median of {KILLS}, s", median(gaps), LATE_S)
    reach(f"fresh frame after kill -9, longest of {KILLS}, s", max(gaps), LATE_S)
    late = [restart for restart in restarts if restart.gap_s > LATE_S]
    note(f"stages, medians, s: {medians(restarts)}")
    by_time = sorted(restarts, key=lambda restart: restart.gap_s)
    note(f"the median one: {by_time[len(by_time) // 2]}")
    for restart in late[:MOST_NOTED]:
        note(f"late: {restart}")
    reach(f"of these later than {LATE_S} s, seed {SEED}", len(late), 0)


def test_a_loop_that_hangs_is_killed_and_the_service_is_back(service: Service, reach: Reach):
    service.drop_in("[Service]\nEnvironment=DEPTHD_FAULT=hang:20 DEPTHD_TESTING=1\n")
    service.start()
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        last = time.monotonic()
        states = set()
        while service.show("NRestarts") == "0":
            try:
                reader.wait(timeout=0.05)
                last = time.monotonic()
            except DepthdError:
                states.add(reader.state)
        service.fresh_frame(reader, not_from=writer)
        reach("hang to fresh frame, s", time.monotonic() - last, 5.0 + 3.0)
    assert CameraState.LOST in states, "readers were told"
    assert "stuck: a frame took longer than 2.0 s" in service.journal()


def test_a_process_that_is_frozen_is_killed_by_systemds_watchdog(service: Service, reach: Reach):
    service.start()
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        begin = time.monotonic()
        os.kill(service.pid, signal.SIGSTOP)
        service.fresh_frame(reader, not_from=writer)
        reach("SIGSTOP to fresh frame, s (WatchdogSec + TimeoutAbortSec + 3)", time.monotonic() - begin, 13.0)
    assert "Watchdog timeout" in service.journal()


@pytest.mark.usefixtures("burning_cpus")
def test_stop_under_load_tells_readers_and_removes_the_object(service: Service, reach: Reach):
    service.start()
    with service.attach() as reader:
        service.fresh_frame(reader)
        begin = time.monotonic()
        service.stop()
        reach("systemctl stop under load, s", time.monotonic() - begin, 1.0)
        # What is mapped stays, and says so.
        assert reader.state == CameraState.STOPPED
    assert objects() == []
    assert service.show("Result") == "success"


def until_tidy() -> None:
    """What follows the last stop is over."""
    end = time.monotonic() + 60
    while state_of("depthd-tidy") in ("active", "deactivating"):
        assert time.monotonic() < end, state_of("depthd-tidy")
        time.sleep(0.02)


def read_on(reader: depthd.Reader) -> None:
    """Reads whatever is left until that ends in an error."""
    while True:
        reader.wait(timeout=0.05)


def state_of(unit: str) -> str:
    return subprocess.run(
        ["systemctl", "show", unit, "-P", "ActiveState"], capture_output=True, text=True, check=False
    ).stdout.strip()


def test_stopped_at_once_after_a_kill_nothing_is_left_and_readers_know(service: Service, note: Note):
    service.drop_in("[Unit]\nStartLimitIntervalSec=0\n")
    stages = {}
    for delay_s in (0.0, 0.005, 0.02, 0.05, 0.2, 0.5, 1.5):
        assert service.start(), service.journal()
        with service.attach() as reader:
            service.fresh_frame(reader)
            os.kill(service.pid, signal.SIGKILL)
            time.sleep(delay_s)
            stages[delay_s] = service.show("SubState")
            service.stop()
            assert service.show("ActiveState") in ("inactive", "failed")
            until_tidy()
            assert objects() == [], f"stopped {delay_s} s after the kill"
            with pytest.raises(NotRunning):
                read_on(reader)
    note(f"the unit, by the seconds between kill and stop: {stages}")


def test_where_a_successor_comes_the_object_stays(service: Service):
    service.start()
    with service.attach() as reader:
        writer, inode = service.fresh_frame(reader).writer_id, service.shared_memory.stat().st_ino
        os.kill(service.pid, signal.SIGKILL)
        service.fresh_frame(reader, not_from=writer)
        assert service.shared_memory.stat().st_ino == inode
        assert state_of("depthd-tidy") == "active"
        service.systemctl("restart", "depthd")
        service.fresh_frame(reader)
        assert state_of("depthd-tidy") == "active"


def test_an_object_that_is_to_stay_stays(service: Service):
    service.configure("shared_memory: {keep_after_exit: true}\n")
    service.start()
    service.stop()
    until_tidy()
    assert objects() == ["depthd"]
    service.configure("")
    assert service.start()
    service.stop()
    assert objects() == []


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ("camera: {kind: periscope}\n", "camera"),
        ("mono: {model: no-such-model}\n", "no-such-model"),
        ("nonsense: [\n", "depthd.yaml"),
    ],
)
def test_a_wrong_configuration_is_one_line_status_2_and_no_restart(service: Service, configuration: str, words: str):
    service.configure(configuration)
    assert not service.start()
    time.sleep(1.0)
    assert service.show("ExecMainStatus") == "2"
    assert service.show("NRestarts") == "0"
    lines = [line for line in service.journal("-o", "cat").splitlines() if line.startswith("depthd: ")]
    assert len(lines) == 1
    assert words in lines[0]


def test_full_shared_memory_is_said_and_restarts_end(service: Service):
    filler = Path("/dev/shm/filler")
    status = os.statvfs("/dev/shm")
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_bsize - 2**20)
    try:
        service.start()
        end = time.monotonic() + 60
        while service.show("ActiveState") != "failed" and time.monotonic() < end:
            time.sleep(0.5)
        assert service.show("ActiveState") == "failed", "it gives up"
        assert int(service.show("NRestarts")) <= 10
        assert "no room in /dev/shm" in service.journal()
        assert objects() == []
    finally:
        filler.unlink()
    service.systemctl("reset-failed", "depthd")
    assert service.start()


def test_a_full_disk_stops_nothing(service: Service):
    for folder in ("/var/cache/depthd", "/var/lib/depthd"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=0777", "full", folder], check=True)
        with Path(folder, "filler").open("wb") as file:
            file.write(bytes(4096))
    try:
        assert service.start(), service.journal()
    finally:
        service.stop()
        for folder in ("/var/cache/depthd", "/var/lib/depthd"):
            subprocess.run(["umount", folder], check=True)


def test_no_permission_for_shared_memory_is_said(service: Service):
    Path("/dev/shm").chmod(0o755)
    try:
        service.start()
        # Not ExecMainStatus: that is the next attempt's already.
        journal = service.journal()
        assert "status=1/FAILURE" in journal
        assert "/dev/shm" in journal
        assert "Permission denied" in journal
    finally:
        Path("/dev/shm").chmod(0o1777)


def test_a_second_instance_leaves_the_first_alone(service: Service):
    service.start()
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        second = subprocess.run(
            ["runuser", "-u", "depthd", "--", "env", *CACHES, PROGRAM, "run"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert "in use by a running writer" in second.stderr
        assert service.fresh_frame(reader).writer_id == writer


@pytest.mark.usefixtures("burning_cpus")
def test_a_thousand_reloads_under_load_drop_no_more_than_allowed_and_leak_nothing(service: Service, reach: Reach):
    # As long a file as an operator has: every key is in it.
    whole = subprocess.run([PROGRAM, "config", "show"], capture_output=True, text=True, check=True).stdout
    service.configure(whole)
    service.drop_in(
        f"[Service]\nExecStart=\nExecStart={PROGRAM} run -c /etc/depthd/depthd.yaml "
        "--set camera.depth=sensor --set camera.fps=10 --set mono.short_side_px=96\n"
    )
    assert service.start(), service.journal()
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        pid = service.pid
        for _ in range(20):
            os.kill(pid, signal.SIGHUP)
            service.fresh_frame(reader)
        before_mib = resident_mib(pid)
        descriptors, threads = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task"))
        first = service.fresh_frame(reader)
        time.sleep(RELOADS * 0.01)
        quiet = service.fresh_frame(reader)
        alone = quiet.dropped - first.dropped
        reach(f"dropped in {quiet.id - first.id} frames under load, no reloads, frames", alone, float("inf"))
        reloads = service.journal().count("reload: nothing has changed")
        dropped = service.fresh_frame(reader).dropped
        frame_id = service.fresh_frame(reader).id
        for _ in range(RELOADS):
            os.kill(pid, signal.SIGHUP)
            time.sleep(0.01)
        last = service.fresh_frame(reader)
        time.sleep(1.0)
        assert service.fresh_frame(reader).writer_id == writer, "it is still the same process"
        reloads = service.journal().count("reload: nothing has changed") - reloads
        assert reloads > 0
        dropped = last.dropped - dropped
        reach(f"dropped in {last.id - frame_id} frames under load, {reloads} reloads, frames", dropped, reloads)
        assert dropped <= reloads, "docs/service.md: no more than one frame a reload"
        reach("growth over 1,000 reloads, MiB", resident_mib(pid) - before_mib, 2.0)
        assert len(os.listdir(f"/proc/{pid}/fd")) == descriptors
        assert len(os.listdir(f"/proc/{pid}/task")) == threads
    assert service.show("ActiveState") == "active"


def test_systemctl_reload_comes_back_as_active(service: Service):
    service.start()
    service.configure("fusion: {backend: reference}\n")
    assert service.systemctl("reload", "depthd").returncode == 0
    end = time.monotonic() + 30
    while "took over fusion" not in service.journal():
        assert time.monotonic() < end
        time.sleep(0.2)
    assert service.show("ActiveState") == "active"
    service.configure("fusion: {backend: abacus}\n")
    service.systemctl("reload", "depthd")
    end = time.monotonic() + 30
    while "the old configuration stays" not in service.journal():
        assert time.monotonic() < end
        time.sleep(0.2)
    assert service.show("ActiveState") == "active"


def as_user(user: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["runuser", "-u", user, "--", PYTHON, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@pytest.fixture(scope="module")
def users() -> None:
    subprocess.run(["useradd", "--no-create-home", "outsider"], check=True)
    subprocess.run(["useradd", "--no-create-home", "--groups", "depthd", "member"], check=True)


READ = "import depthd; print(depthd.open('depthd').wait(timeout=5).id)"


@pytest.mark.usefixtures("users")
def test_members_of_the_group_read_and_nobody_else_does(service: Service):
    service.start()
    assert as_user("member", READ).returncode == 0
    outsider = as_user("outsider", READ)
    assert outsider.returncode != 0
    assert "PermissionDenied" in outsider.stderr
    assert service.shared_memory.stat().st_mode & 0o777 == 0o640
    assert service.shared_memory.group() == service.shared_memory.owner() == "depthd"


DOORS = (
    "open('/dev/shm/depthd', 'r+b').write(b'x')",
    "os.truncate('/dev/shm/depthd', 0)",
    "os.unlink('/dev/shm/depthd')",
    "os.rename('/dev/shm/depthd', '/dev/shm/mine')",
    "os.chmod('/dev/shm/depthd', 0o666)",
    "os.kill(PID, signal.SIGKILL)",
    "os.kill(PID, signal.SIGSTOP)",
    "open('/proc/PID/mem', 'r+b').write(b'x')",
    "os.sched_setaffinity(PID, [0])",
    "open('/etc/depthd/depthd.yaml', 'w').write('x')",
    "open('/opt/depthd/bin/depthd', 'w').write('x')",
    "open('/var/cache/depthd/x', 'w').write('x')",
    "mmap.mmap(os.open('/dev/shm/depthd', os.O_RDONLY), 0, prot=mmap.PROT_WRITE)",
)


@pytest.mark.usefixtures("users")
def test_every_door_for_writing_is_shut(service: Service):
    service.start()
    pid = service.pid
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        for user in ("member", "outsider"):
            for door in DOORS:
                result = as_user(user, f"import os, signal, mmap\n{door.replace('PID', str(pid))}")
                assert result.returncode != 0, (user, door)
                refused = "PermissionError" in result.stderr or "Operation not permitted" in result.stderr
                assert refused, (user, door, result.stderr)
                assert service.fresh_frame(reader).writer_id == writer, (user, door)


@pytest.mark.usefixtures("users")
def test_a_reader_that_holds_every_lock_it_may_cannot_keep_the_service_from_coming_back(service: Service):
    service.start()
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        hold = (
            "import fcntl, time\nfile = open('/dev/shm/depthd', 'rb')\n"
            "fcntl.flock(file, fcntl.LOCK_EX)\n"
            "try: fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\nexcept OSError: pass\n"
            "print('held', flush=True)\nwhile True:\n"
            "    try: fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n    except OSError: pass\n"
            "    time.sleep(0.001)\n"
        )
        holder = subprocess.Popen(
            ["runuser", "-u", "member", "--", PYTHON, "-c", hold], stdout=subprocess.PIPE, text=True, cwd="/"
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            os.kill(service.pid, signal.SIGKILL)
            service.fresh_frame(reader, not_from=writer)
        finally:
            subprocess.run(["pkill", "-KILL", "-u", "member"], check=False)
            holder.wait()


CHANGE = (
    "from depthd import control; path = control.find_socket('depthd'); "
    "print(control.ask(path, {'set': {'fusion.prefer': 'mono'}})['configuration'].count('prefer: mono'))"
)


@pytest.mark.usefixtures("users")
def test_members_of_the_group_change_knobs_where_it_is_allowed_and_nobody_else_does(service: Service):
    service.configure("control: {enabled: true}\n")
    assert service.start(), service.journal()
    member = as_user("member", CHANGE)
    assert member.stdout == "1\n", member.stderr
    assert as_user("outsider", CHANGE).returncode != 0
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        os.kill(service.pid, signal.SIGKILL)
        service.fresh_frame(reader, not_from=writer)
        assert as_user("member", CHANGE).returncode == 0, "and after a restart, too"


@pytest.mark.usefixtures("users")
def test_another_users_messages_do_not_count_as_the_services(service: Service):
    service.start()
    as_user(
        "outsider",
        "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.sendto(b'STOPPING=1\\nSTATUS=owned', '/run/systemd/notify')",
    )
    time.sleep(0.5)
    assert service.show("ActiveState") == "active"
    assert "owned" not in service.show("StatusText")


def test_it_is_exposed_little(reach: Reach, service: Service):
    result = subprocess.run(
        ["systemd-analyze", "security", "depthd.service"], capture_output=True, text=True, check=False
    )
    overall = float(result.stdout.rpartition("depthd.service: ")[2].split()[0])
    reach("systemd-analyze security", overall, 3.0)
    assert overall <= 3.0


def test_the_doctor_finds_the_service_well(service: Service):
    service.systemctl("enable", "depthd")
    service.start()
    result = subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["service"]["verdict"] == "ok"
    assert findings["user depthd"]["verdict"] == "ok"
    assert findings["shared memory depthd"]["verdict"] == "ok"


def test_metrics_are_served_on_this_machine_only(service: Service):
    import urllib.request

    service.configure("metrics: {enabled: true}\n")
    assert service.start(), service.journal()
    time.sleep(1.0)
    text = urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=5).read().decode()
    assert "depthd_frames_total" in text
    assert 'depthd_camera_state{depthd_camera_state="running"} 1.0' in text
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=False).stdout
    assert "0.0.0.0:9464" not in listening


@pytest.fixture
def view() -> Iterator[None]:
    """The live page's unit, with a port of the test's; off afterwards, as it is installed."""
    settings = Path("/etc/depthd/view.env")
    settings.touch(mode=0o600)
    settings.write_text(f"DEPTHD_VIEW_OPTIONS=--port {VIEW_PORT}\nDEPTHD_VIEW_TOKEN={VIEW_TOKEN}\n")
    yield
    subprocess.run(["systemctl", "stop", "depthd-view"], check=False)
    settings.unlink()


VIEW_PORT, VIEW_TOKEN = 18080, "a-token-of-the-test-0123456789"


def page(path: str, token: str = "") -> int:
    """The HTTP status; 0 where nobody listens."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        f"http://127.0.0.1:{VIEW_PORT}/{path}", headers={"Cookie": f"depthd_token={token}"}
    )
    try:
        return int(urllib.request.urlopen(request, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.usefixtures("view")
def test_the_live_page_is_a_unit_of_its_own_that_is_off_until_asked_for(service: Service, reach: Reach):
    def systemctl(*words: str) -> str:
        return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False).stdout.strip()

    assert systemctl("is-enabled", "depthd-view") == "disabled"
    assert systemctl("is-active", "depthd-view") == "inactive"
    service.start()
    with service.attach() as reader:
        writer = service.fresh_frame(reader).writer_id
        systemctl("start", "depthd-view")
        end = time.monotonic() + 30
        while not page("") and time.monotonic() < end:
            time.sleep(0.1)
        journal = subprocess.run(
            ["journalctl", "-u", "depthd-view", "-o", "cat"], capture_output=True, text=True
        ).stdout
        assert page("") in (401, 403), f"without the token: {page('')}\n{journal}"
        assert page("", VIEW_TOKEN) == 200, journal
        assert page("health", VIEW_TOKEN) == 200, journal
        page_pid = systemctl("show", "depthd-view", "-P", "MainPID")
        assert Path(f"/proc/{page_pid}").owner() not in ("root", "depthd")
        assert VIEW_TOKEN not in Path(f"/proc/{page_pid}/cmdline").read_text()
        assert VIEW_TOKEN not in journal
        assert service.fresh_frame(reader).writer_id == writer
    exposure = subprocess.run(
        ["systemd-analyze", "security", "depthd-view.service"], capture_output=True, text=True, check=False
    ).stdout
    overall = float(exposure.rpartition("depthd-view.service: ")[2].split()[0])
    reach("systemd-analyze security, live page", overall, 2.0)
    assert overall <= 2.0


@pytest.mark.timeout(5400)
def test_it_runs_long_without_growing(service: Service, reach: Reach, note: Note):
    seconds = SECONDS
    capture = [PROGRAM, "capture", "--save", "--count", "60", "-o", WALK, "--set", "camera.depth=sensor"]
    subprocess.run(["runuser", "-u", "depthd", "--", "env", *CACHES, *capture], check=True, capture_output=True)
    service.configure(LIGHT)
    assert service.start(), service.journal()
    with service.attach() as reader:
        pid = service.pid
        settle_s = min(seconds / 4, 60.0)
        end = time.monotonic() + settle_s
        while time.monotonic() < end:
            service.fresh_frame(reader)
        settled_mib = resident_mib(pid)
        soak = Soak(pid, RESULTS / "soak.jsonl", minute_s=min(seconds / 2, 60.0))
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            frame = service.fresh_frame(reader)
            soak.frame((time.monotonic_ns() - frame.timestamps.grabbed_ns) / 1e6, lambda: reader.header)
        took_s = time.monotonic() - begin
        assert service.pid == pid, "it is still the same process"
        reach(f"growth over {took_s:.0f} s after the first {settle_s:.0f}, MiB", resident_mib(pid) - settled_mib, 2.0)
        note("MiB, minute by minute: " + " ".join(f"{minute.resident_mib:.2f}" for minute in soak.minutes))
        every = percentiles(soak.latencies_ms)
        named = ", ".join(f"{name} {value:.1f}" for name, value in every.items())
        note(f"latency from grab to reader, {len(soak.latencies_ms)} frames, ms: {named}")
        note(f"of these: {histogram(soak.latencies_ms)}")
        quietest = min(soak.minutes, key=lambda minute: minute.latency_ms["p99"] / minute.latency_ms["p50"])
        note(f"the quietest {quietest}")
        note(f"the last {soak.minutes[-1]}")
        reach("p99 / p50 of the latency from grab to reader", every["p99"] / every["p50"], 2.0)
        reach("seconds per frame, s", took_s / len(soak.latencies_ms), 1 / 29)
