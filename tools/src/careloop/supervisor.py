"""Starts children, keeps them running, and ends them in the reverse order."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from careloop.processes import Identity, spawn
from careloop.state import Run

BACK_OFF = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_AFTER = 30.0


@dataclass
class Child:
    """What is to run: command and environment are asked for anew at each start, since secrets serve one start only."""

    name: str
    command: Callable[[], Sequence[str | Path]]
    env: Callable[[], Mapping[str, str]]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    parent_death_signal: signal.Signals = signal.SIGKILL
    patience: float = 20.0
    wanted: bool = True
    process: subprocess.Popen[bytes] | None = None
    identity: Identity | None = None
    failures: int = 0
    started_at: float = 0.0
    start_after: float = 0.0


@dataclass
class Supervisor:
    """The children of one run. A thread restarts those that end without being asked to."""

    run: Run
    children: dict[str, Child] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    ending: threading.Event = field(default_factory=threading.Event)
    _watcher: threading.Thread | None = None

    def __post_init__(self) -> None:
        """The data directory is asked of the run once."""
        self.data = self.run.data

    def start(self, child: Child) -> None:
        """Start a child, and from now on keep it running."""
        with self._lock:
            self.children[child.name] = child
            child.wanted = True
            self._spawn(child)

    def stop(self, name: str) -> None:
        """End a child and leave it ended."""
        with self._lock:
            child = self.children[name]
            child.wanted = False
        if child.identity:
            child.identity.end(child.stop_signal, child.patience)
        if child.process:
            child.process.wait()

    def kill(self, name: str) -> None:
        """End a child as a crash would; it is started again."""
        child = self.children[name]
        if child.process:
            child.process.kill()

    def watch(self) -> None:
        """Begin to restart what ends."""
        self._watcher = threading.Thread(target=self._keep_running, name="watcher", daemon=True)
        self._watcher.start()

    def stop_all(self) -> None:
        """End all children: programs of ours first, since they need the servers, whose data ends with the run."""
        self.ending.set()
        if self._watcher:
            self._watcher.join()
        with self._lock:
            for child in self.children.values():
                child.wanted = False
        names = list(reversed(self.children))
        servers = [name for name in names if name in ("openbao", "kafka", "postgres")]
        for group in ([name for name in names if name not in servers], servers):
            threads = [threading.Thread(target=self.stop, args=(name,)) for name in group]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _spawn(self, child: Child) -> None:
        log = self.run.logs / f"{child.name}.log"
        child.process = spawn(
            child.command(),
            log,
            env=child.env(),
            user=child.user,
            on_parent_death=child.parent_death_signal,
        )
        child.identity = Identity.of(child.process.pid)
        child.started_at = time.monotonic()
        self._record()

    def _record(self) -> None:
        record = self.run.record()
        record["children"] = {
            child.name: {"pid": child.identity.pid, "started": child.identity.started}
            for child in self.children.values()
            if child.identity
        }
        self.run.write(record)

    def _keep_running(self) -> None:
        while not self.ending.wait(0.1):
            for child in list(self.children.values()):
                with self._lock:
                    if child.wanted and child.process and child.process.poll() is not None:
                        self._revive(child)

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if not child.start_after:
            child.failures = 0 if now - child.started_at > STEADY_AFTER else child.failures + 1
            child.start_after = now + BACK_OFF[min(child.failures, len(BACK_OFF)) - 1]
        elif now >= child.start_after:
            child.start_after = 0.0
            self._spawn(child)
