"""Child processes that end with the launcher, however it ends, and the names by which processes are known again."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# The kernel sends the parent-death signal when the *thread* that made the child ends, so one lasting thread makes all.
SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class StartFailed(Exception):
    """A server or service did not come up; the message says which, and how its log ends."""

    def __init__(self, text: str, log: Path | None = None) -> None:
        """With a log, its last lines go into the message."""
        lines = log.read_text(errors="replace").splitlines()[-8:] if log and log.exists() else []
        super().__init__("\n  ".join([text + (f"; the end of {log}:" if lines else ""), *lines]))


@dataclass(frozen=True)
class Identity:
    """A process, told from a later one with the same number by the time of its start."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process `pid` as it is now; nothing if there is none, or only its remains."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def end(self, how: signal.Signals, patience: float) -> None:
        """Ask the process to end, then make it."""
        for sign, seconds in ((how, patience), (signal.SIGKILL, 5.0)):
            if not self.alive:
                return
            with suppress(ProcessLookupError):
                os.kill(self.pid, sign)
            wait_until(lambda: not self.alive, seconds)


def spawn(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str],
    user: str | None = None,
    on_parent_death: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, its output appended to `log`, that gets a signal when the launcher dies."""
    parent = os.getpid()

    def bind_to_parent() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd="/",
                start_new_session=True,
                preexec_fn=bind_to_parent,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )

    return SPAWNER.submit(start).result()


def run(command: Sequence[str | Path], log: Path, *, env: Mapping[str, str], user: str | None = None) -> None:
    """Run a child to its end; a failure raises with the name of its log."""
    code = spawn(command, log, env=env, user=user).wait()
    if code:
        raise StartFailed(f"{Path(command[0]).name} ended with {code}", log)


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, outside the range from which the kernel takes ports for clients."""
    held: dict[int, socket.socket] = {}
    chooser = random.SystemRandom()
    while len(held) < count:
        port = chooser.randrange(15000, 32000)
        if port in held:
            continue
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
            continue
        held[port] = candidate
    for candidate in held.values():
        candidate.close()
    return list(held)


def base_env() -> dict[str, str]:
    """What children inherit: the way to programs and the locale, none of the caller's own settings or secrets."""
    kept = ("PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}
