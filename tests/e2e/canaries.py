"""Looking for values where they must not be: in files of a run, and in whatever a program says."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from careloop.system import System

CANARIES = {
    "family name": "Zqcanaryfamily",
    "given name": "Zqcanarygiven",
    "record number": "ZQCANARYMRN77",
    "birth date": "1931-07-19",
    "birth date in HL7": "19310719",
    "phone": "2025550177",
    "e-mail": "zqcanary@mail.example",
    "street": "Zqcanarystreet",
    "diagnosis": "E11.3299",
    "result": "7.7731",
}
PROVIDER = ("simulator.jsonl", "simulator.log")
OFFSETS_ONLY = (".index", ".timeindex")
"""Kafka's look-up files: large, empty and without records."""

Said = tuple[str, bytes]
"""Where something stands, and what."""


def spellings(value: str) -> list[bytes]:
    """The value as it could stand in a file."""
    plain = value.encode()
    shifted = [base64.b64encode(b"x" * lead + plain)[4 if lead else 0 : -4] for lead in range(3)]
    return [plain, value.encode("utf-16-le"), plain.hex().encode(), *(part for part in shifted if len(part) > 7)]


def places(system: System) -> Iterator[Path]:
    """Every file of the run: databases and WAL, Kafka segments, OpenBao's storage and audit, logs, spans, anchors."""
    for root in (system.servers.run.data, system.servers.run.folder):
        yield from (path for path in root.rglob("*") if is_searched(path))


def is_searched(path: Path) -> bool:
    """Whether records or texts could be in a file that is ours to keep clean."""
    return path.is_file() and path.name not in PROVIDER and path.suffix not in OFFSETS_ONLY


def contents(paths: Iterable[Path]) -> Iterator[Said]:
    """What files hold, one after the other."""
    for path in paths:
        yield path.name, path.read_bytes()


def hits(said: Iterable[Said], values: Mapping[str, str] = CANARIES) -> set[tuple[str, str]]:
    """Which value was seen where."""
    wanted = {name: spellings(value) for name, value in values.items()}
    return {
        (name, where) for where, text in said for name, forms in wanted.items() if any(form in text for form in forms)
    }
