"""Where things are in this clone, and the programs that are found in it."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STATE = ROOT / ".careloop"
GATE = "outreach-gate"


@dataclass(frozen=True)
class Program:
    """One process of ours: a service of `services/*`, or the send gate that outreach brings along."""

    name: str
    service: str
    verb: str = "serve"

    @property
    def module(self) -> str:
        """Its import package; also the name of its database."""
        return self.service.replace("-", "_")

    @property
    def role(self) -> str:
        """Its database role."""
        return self.name.replace("-", "_")

    @property
    def prefix(self) -> str:
        """The prefix of its environment variables."""
        return self.role.upper() + "_"

    @property
    def ready(self) -> bool:
        """Whether there is something to start: a folder of `services/*` without a `main.py` is not yet a service."""
        return (ROOT / "services" / self.service / "src" / self.module / "main.py").exists()


def services() -> list[Program]:
    """One program for each folder of `services/*`."""
    folders = sorted(file.parent.name for file in (ROOT / "services").glob("*/pyproject.toml"))
    return [Program(name, name) for name in folders]


def programs() -> list[Program]:
    """All processes of ours, and so all principals: the services and the gate."""
    found = services()
    if any(program.name == "outreach" for program in found):
        found.append(Program(GATE, "outreach", "gate"))
    return found


def write_secret(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, never for a moment wider."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path
