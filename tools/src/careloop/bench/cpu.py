"""CPU time of all processes of a system, from the kernel's own accounts."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def children() -> dict[int, int]:
    """Parent by process id, for every process that can be read now."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(stat.parent.name)] = int(fields[1])
    return found


def below(root: int) -> set[int]:
    """All processes below `root`."""
    parents = children()
    found: set[int] = set()
    grown = {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown and pid not in found}
        found |= grown
    return found


def seconds(root: int, without: set[int]) -> dict[int, float]:
    """CPU seconds so far of each process below `root`, and of its ended children."""
    found = {}
    for pid in below(root) - without:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[pid] = sum(int(field) for field in fields[11:15]) / TICK
    return found


def name_of(pid: int) -> str:
    """A short name for a table."""
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return "ended"
    words = [part.decode(errors="replace") for part in parts if part]
    if "-m" in words:
        return " ".join(words[words.index("-m") + 1 :][:2])
    if any("kafka.Kafka" in word for word in words):
        return "kafka"
    return Path(words[0]).name.split(":")[0] if words else "?"
