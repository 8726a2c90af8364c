"""What each service costs at rest: resident memory, and the time from its start to ready."""

import json
import time
from pathlib import Path
from typing import Any

from careloop.system import System

QUIET_SECONDS = 5
GOAL_MIB, LIMIT_MIB, LIMIT_SECONDS = 95, 130, 1.5


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def run(out: Path | None) -> dict[str, Any]:
    """Measure every service and the gate, one restart after the other."""
    figures: dict[str, Any] = {}
    with System.start(kind="bench", trace_ratio=0.01) as system:
        time.sleep(QUIET_SECONDS)
        for name in [program.name for program in system.running]:
            identity = system.servers.supervisor.children[name].identity
            memory = resident_mib(identity.pid) if identity else 0.0
            system.stop(name)
            began = time.monotonic()
            system.restart(name)
            figures[name] = {"mib": round(memory), "ready_s": round(time.monotonic() - began, 2)}
    figures["within_limits"] = all(
        one["mib"] <= LIMIT_MIB and one["ready_s"] <= LIMIT_SECONDS for one in figures.values()
    )
    text = json.dumps(figures, indent=1)
    if out:
        out.write_text(text + "\n")
    print(text)
    return figures
