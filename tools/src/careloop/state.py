"""What one run writes into the clone while it lives: who it is, where its servers are. Dead ones are cleared away."""

import json
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from careloop.paths import STATE, write_secret
from careloop.processes import Identity, StartFailed

RUNS = STATE / "runs"


@dataclass(frozen=True)
class Run:
    """One system of servers; the name of its folder says which process supervises it."""

    folder: Path

    @property
    def kind(self) -> str:
        """What the system is for: up, test, demo, ..."""
        return self.folder.name.rsplit("-", 1)[0]

    @property
    def supervisor(self) -> Identity:
        """The process without which this run is a dead one."""
        pid, _, started = self.folder.name.rsplit("-", 1)[1].partition(".")
        return Identity(int(pid), int(started))

    @property
    def logs(self) -> Path:
        """A log for each child."""
        return self.folder / "logs"

    @property
    def spans(self) -> Path:
        """Where processes write their spans when there is no collector."""
        return self.folder / "spans"

    @property
    def file(self) -> Path:
        """Addresses, secrets of this run and its children."""
        return self.folder / "run.json"

    def record(self) -> dict[str, Any]:
        """What `file` says; empty before there is one and after the run."""
        try:
            return dict(json.loads(self.file.read_text()))
        except FileNotFoundError:
            return {}

    def write(self, record: dict[str, Any]) -> None:
        """Put a new record in place of the old, whole or not at all."""
        write_secret(self.folder / "run.new", json.dumps(record, indent=1)).replace(self.file)

    @classmethod
    def begin(cls, kind: str) -> "Run":
        """A new run of this process, after dead ones are cleared away; its data directory is made."""
        try:
            RUNS.mkdir(parents=True, exist_ok=True)
            clear_dead_runs()
            me = Identity.of(os.getpid())
            assert me is not None
            run = cls(RUNS / f"{kind}-{me.pid}.{me.started}")
            shutil.rmtree(run.folder, ignore_errors=True)
            for folder in (run.folder, run.logs, run.spans):
                folder.mkdir(mode=0o700)
        except PermissionError as refused:
            raise StartFailed(f"cannot write to {refused.filename}: this clone belongs to another user") from None
        data = Path(tempfile.mkdtemp(prefix="careloop-", dir="/tmp"))
        data.chmod(0o711)
        run.write({"data": str(data), "children": {}})
        return run

    @property
    def data(self) -> Path:
        """The directory outside the clone that holds all that the servers store."""
        return Path(self.record()["data"])

    def end(self) -> None:
        """Forget the run: nothing of it stays but its logs and spans, until the next one starts."""
        record = self.record()
        for child in record.get("children", {}).values():
            Identity(child["pid"], child["started"]).end(signal.SIGQUIT, 3.0)
        if "data" in record:
            shutil.rmtree(record["data"], ignore_errors=True)
        self.file.unlink(missing_ok=True)


def runs() -> list[Run]:
    """All runs that have a folder in this clone, dead or alive."""
    return [Run(folder) for folder in sorted(RUNS.glob("*-*.*")) if folder.is_dir()]


def current(kind: str = "up") -> Run | None:
    """The living run of this kind."""
    return next((run for run in runs() if run.kind == kind and run.supervisor.alive and run.record()), None)


def clear_dead_runs() -> None:
    """End what runs without a supervisor left running, and remove what they stored."""
    for run in runs():
        if not run.supervisor.alive:
            run.end()
            with suppress(FileNotFoundError):
                shutil.rmtree(run.folder)
