"""Two clocks: business time, which can be virtual, and real time for leases, time-outs and tokens. And new ids."""

import mmap
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from phi_common.entropy import random_bytes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Now = Callable[[], datetime]


def system_now() -> datetime:
    """Real time. Only leases, permits, tokens and the like may call this directly."""
    return datetime.now(UTC)


def virtual_now(path: Path) -> Now:
    """Business time from a file of eight bytes (microseconds since 1970, little endian) that the launcher advances."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def now() -> datetime:
        return EPOCH + timedelta(microseconds=struct.unpack("<q", shared[:8])[0])

    return now


def set_virtual(path: Path, instant: datetime) -> None:
    """Set the virtual clock; every process that reads `path` sees it at once."""
    if not path.exists():
        path.write_bytes(bytes(8))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        shared[:8] = struct.pack("<q", (instant - EPOCH) // timedelta(microseconds=1))


def business_clock(virtual: Path | None) -> Now:
    """The virtual clock where a file is given, else real time."""
    return virtual_now(virtual) if virtual else system_now


def new_id() -> UUID:
    """A random UUID that sorts by the time of its making (RFC 9562 version 7), kind to B-trees."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(random_bytes(10))
    return UUID(int=value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48)


def random_id() -> UUID:
    """A random UUID that tells nothing, not even its time: for patients."""
    return uuid4()
