"""The repository as the contract tests see it: members, their sources, the event classes. Enumerated, never listed."""

import ast
import importlib
import os
import pkgutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import phi_common.events
from phi_common.events import Event, event_classes

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Member:
    """One installable package."""

    name: str
    package: str
    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "src" / self.package

    @property
    def dependencies(self) -> list[str]:
        with (self.folder / "pyproject.toml").open("rb") as file:
            return list(tomllib.load(file)["project"]["dependencies"])


@dataclass(frozen=True)
class Source:
    """One parsed file."""

    path: Path
    text: str
    tree: ast.Module

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


def members(pattern: str) -> list[Member]:
    """The members whose folder matches, by name."""
    found = sorted(path.parent for path in ROOT.glob(f"{pattern}/pyproject.toml"))
    return [Member(folder.name, next(_packages(folder)), folder) for folder in found]


def _packages(folder: Path) -> Iterator[str]:
    for path in sorted((folder / "src").iterdir()):
        if (path / "__init__.py").exists():
            yield path.name


SERVICES = members("services/*")
LIBRARIES = members("libs/*")
TOOLS = members("tools")


@cache
def sources_of(member: Member) -> tuple[Source, ...]:
    """Every module of a member, parsed."""
    paths = sorted(member.source.rglob("*.py"))
    texts = [(path, path.read_text()) for path in paths]
    return tuple(Source(path, text, ast.parse(text)) for path, text in texts)


@cache
def events() -> dict[str, type[Event]]:
    """Every event class by its type name."""
    for module in pkgutil.iter_modules(phi_common.events.__path__):
        importlib.import_module(f"phi_common.events.{module.name}")
    return dict(sorted((found.type, found) for found in event_classes()))


REFRESH = "UPDATE_SNAPSHOTS=1 ./careloop test tests/contract"
"""Writes every snapshot anew; the difference is then read and committed."""


def updating() -> bool:
    """Whether this run writes snapshots."""
    return os.environ.get("UPDATE_SNAPSHOTS") == "1"


def is_committed(path: Path, text: str) -> None:
    """Fail unless `path` holds what the code says now."""
    if updating():
        path.write_text(text)
    committed = path.read_text() if path.exists() else ""
    assert committed == text, f"{path.name} is not what the code says; read the difference after: {REFRESH}"
