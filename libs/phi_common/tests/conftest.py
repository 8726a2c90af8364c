"""Toy services on databases of their own, under the principals of two real ones that share a topic."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects.postgresql import BYTEA, UUID

from phi_common import topics
from phi_common.db import NAMING, columns
from phi_common.decision import Decision
from phi_common.eventing.consume import Subscription, subscribe
from phi_common.eventing.tables import plumbing
from phi_common.events.care_gap import GapClosed, GapDueSoon, GapOpened
from phi_common.runtime import Runtime
from phi_common.settings import CommonSettings
from phi_common.testing import Clock, LocalTopicKeys, admin, clock, shared_settings, system, wrapped_secret_id
from phi_common.transaction import Tx

__all__ = ["clock"]

metadata = sa.MetaData(naming_convention=NAMING)
plumbing(metadata)
sa.Table(
    "tallies",
    metadata,
    sa.Column("patient_id", UUID, primary_key=True),
    sa.Column("seen", sa.Integer, sa.CheckConstraint("seen < 100", name="seen"), nullable=False),
    sa.Column("sealed", BYTEA, nullable=False),
)


@dataclass(frozen=True)
class Tally:
    """What the toy remembers of a patient: rule versions, in the order they came."""

    rules: tuple[str, ...] = ()


def opened(state: Tally, event: GapOpened, now: datetime) -> Decision[Tally]:
    if event.rule == "raise":
        raise ValueError("planted")
    return Decision(replace(state, rules=(*state.rules, event.rule)))


def closed(state: Tally, event: GapClosed, now: datetime) -> Decision[Tally]:
    return Decision(replace(state, rules=(*state.rules, "closed")))


async def load(tx: Tx, patients: Any) -> dict[Any, Tally]:
    rows = await (
        await tx.execute("SELECT patient_id, sealed FROM tallies WHERE patient_id = ANY(%b)", [patients])
    ).fetchall()
    found = {p: Tally(tuple(json.loads(tx.open(p, "tallies.sealed", s)))) for p, s in rows if tx.knows(p)}
    return {p: found.get(p, Tally()) for p in patients}


async def save(tx: Tx, states: dict[Any, Tally]) -> None:
    rows = [
        (
            p,
            100 if "refuse" in t.rules else len(t.rules),
            tx.seal(p, "tallies.sealed", json.dumps(t.rules).encode()),
        )
        for p, t in states.items()
    ]
    await tx.execute(
        "INSERT INTO tallies SELECT * FROM unnest(%b::uuid[], %b::int4[], %b::bytea[]) "
        "ON CONFLICT (patient_id) DO UPDATE SET seen = excluded.seen, sealed = excluded.sealed",
        columns(rows, 3),
    )


def toy(*, ordered: bool = True) -> Subscription:
    return subscribe(
        topics.GAPS,
        decide={GapOpened: opened, GapClosed: closed, GapDueSoon: lambda s, e, n: Decision(s, (e,))},
        load=load,
        save=save,
        ordered=ordered,
        despite_parking=lambda event: isinstance(event, GapClosed),
    )


def database(name: str, password: str) -> None:
    """A fresh database with the toy's tables, used by a role of the same name."""
    with admin("postgres") as pg:
        pg.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        pg.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
        pg.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        pg.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(name)))
    found = system()["postgres"]
    host, _, port = found["address"].rpartition(":")
    url = sa.URL.create("postgresql+psycopg", name, password, host, int(port), name)
    engine = sa.create_engine(url.update_query_dict({"sslmode": "verify-full", "sslrootcert": system()["ca_file"]}))
    metadata.create_all(engine)
    engine.dispose()


async def start(principal: str, name: str, clock: Clock, folder: Path, *, local_keys: bool) -> Runtime:
    """A runtime of the toy under a real principal."""
    database(name, system()["kv"][f"db/{principal}"]["password"])
    settings = CommonSettings(role_id=system()["vault"]["role_ids"][principal])
    settings.secret_id_file = wrapped_secret_id(principal, folder)
    runtime = Runtime(principal, settings, shared_settings(), database=name, role=name)
    runtime.key_owner = principal
    runtime.now = clock.now
    await runtime.connect()
    if local_keys:
        runtime.topic_keys = runtime.db.topic_keys = LocalTopicKeys()  # type: ignore[assignment]
    await runtime.open_keys(create=True)
    return runtime


@pytest.fixture
async def runtime(clock: Clock, tmp_path: Path) -> AsyncIterator[Runtime]:
    """A reader of gap events, without Kafka."""
    found = await start("outreach", "toy_reader", clock, tmp_path, local_keys=True)
    yield found
    await found.db.engine.dispose()
    found.vault.close()


@pytest.fixture
def pg() -> Any:
    """A superuser's connection to the reader's database."""
    with admin("toy_reader") as found:
        assert isinstance(found, psycopg.Connection)
        yield found


@pytest.fixture
def ordered() -> Subscription:
    return toy()


@pytest.fixture
def unordered() -> Subscription:
    return toy(ordered=False)


@pytest.fixture
def start_toy() -> Any:
    return start


@pytest.fixture
def tally() -> Any:
    """What the toy remembers of a patient, in clear."""

    async def read(runtime: Runtime, patient: Any) -> tuple[str, ...]:
        async with runtime.transaction("test") as tx:
            await tx.load_keys([patient])
            return (await load(tx, [patient]))[patient].rules

    return read
