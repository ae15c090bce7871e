"""What the machine and one process did meanwhile, so that something slow names its cause.

Four things make the same work take longer: others' work on the same cores (the process is queued), the host's other
guests (steal), a processor that does less in the same time (the process runs longer), and the disk (iowait, reads).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

PROCESSOR_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
PRESSURES = ("cpu", "io", "memory")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Totals:
    """Seconds since boot, summed over all processors: /proc/stat, and /proc/pressure where the kernel has it."""

    at_s: float
    seconds: dict[str, float]


def totals() -> Totals:
    ticks = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    seconds = {name: int(count) * TICK_S for name, count in zip(PROCESSOR_TIMES, ticks, strict=True)}
    for name in PRESSURES:
        seconds[f"some {name} stalled"] = _stalled_s(Path("/proc/pressure", name))
    return Totals(time.monotonic(), seconds)


def _stalled_s(pressure: Path) -> float:
    """For how long at least one task waited for it; 0 where the kernel does not tell."""
    try:
        return int(pressure.read_text().split("total=")[1].split()[0]) / 1e6
    except OSError:
        return 0.0


def between(first: Totals, last: Totals) -> dict[str, float]:
    """Seconds of each kind. `wall` times the number of processors is the sum of the processors' times."""
    return {
        "wall": last.at_s - first.at_s,
        **{name: last.seconds[name] - first.seconds[name] for name in first.seconds},
    }


def spent_by(pid: int) -> dict[str, float]:
    """Of a process since its start. The main thread's seconds running and queued for a processor, as the kernel
    counts them; the processor seconds of all threads; what it had to wait for from the disk.
    """
    main = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    read = next(line for line in Path(f"/proc/{pid}/io").read_text().splitlines() if line.startswith("read_bytes"))
    return {
        "main running": int(main[0]) / 1e9,
        "main queued": int(main[1]) / 1e9,
        "all threads": (int(fields[11]) + int(fields[12])) * TICK_S,
        "major faults": float(fields[9]),
        "MiB read": int(read.split()[1]) / 2**20,
    }


def in_words(meanwhile: dict[str, float], process: dict[str, float]) -> str:
    """One line of both, for `process` that has started within `meanwhile`."""
    busy = sum(meanwhile[kind] for kind in ("user", "nice", "system", "irq", "softirq"))
    others = max(0.0, busy - process["all threads"])
    stalls = ", ".join(f"{name} {meanwhile[f'some {name} stalled']:.2f}" for name in PRESSURES)
    return (
        f"of {meanwhile['wall']:.2f} s on {os.cpu_count()} processors: others ran {others:.2f}, "
        f"steal {meanwhile['steal']:.2f}, iowait {meanwhile['iowait']:.2f}, idle {meanwhile['idle']:.2f}; "
        f"something stalled for {stalls}; "
        f"the process: main thread ran {process['main running']:.2f}, was queued {process['main queued']:.2f}, "
        f"all threads ran {process['all threads']:.2f}, {process['major faults']:.0f} major faults, "
        f"{process['MiB read']:.1f} MiB read"
    )
