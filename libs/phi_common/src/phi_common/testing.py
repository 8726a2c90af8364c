"""What tests of services share: their real database, a runtime without Kafka, sealed records, and an HTTP client.

The servers are those of `./careloop test`, described by the file that CARELOOP_TEST_SYSTEM names.
"""

import importlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import FastAPI

from phi_common.auth import Principal, roles_from
from phi_common.clock import new_id
from phi_common.crypto import seal
from phi_common.db import partition_of
from phi_common.eventing.dead_letters import Record
from phi_common.events import Event
from phi_common.problem import Problem
from phi_common.runtime import Runtime
from phi_common.settings import CommonSettings, Shared

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
KEEP = ("alembic_version", "bucket_keys")
REPOSITORY = Path(__file__).parents[4]


@cache
def system() -> dict[str, Any]:
    """The servers of this test run."""
    path = os.environ.get("CARELOOP_TEST_SYSTEM")
    if not path:
        pytest.fail("these tests need PostgreSQL and OpenBao: run them with ./careloop test", pytrace=False)
    return dict(json.loads(Path(path).read_text()))


def shared_settings() -> Shared:
    """Settings that point at the servers of this test run."""
    found = system()
    return Shared(
        ca_file=found["ca_file"],
        kafka=found["kafka"]["address"],
        vault=found["vault"]["address"],
        postgres=found["postgres"]["address"],
        issuer="https://issuer.invalid",
        roles_file=REPOSITORY / "deploy" / "roles.toml",
    )


def wrapped_secret_id(principal: str, folder: Path) -> Path:
    """A file with the wrapping token of a fresh one-use secret-id, as each process start gets one."""
    import hvac

    vault = system()["vault"]
    client = hvac.Client(url=vault["address"], token=vault["token"], verify=system()["ca_file"], timeout=5)
    answer = client.auth.approle.generate_secret_id(principal, wrap_ttl="120s")
    path = folder / f"secret-id-{new_id()}"
    path.write_text(answer["wrap_info"]["token"])
    return path


def admin(database: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """A superuser's connection."""
    found = system()["postgres"]
    host, _, port = found["address"].rpartition(":")
    return psycopg.connect(
        host=host, port=int(port), dbname=database, user=found["admin"], password=found["password"],
        sslmode="verify-full", sslrootcert=system()["ca_file"], autocommit=autocommit,
    )  # fmt: skip


@cache
def migrated(service: str) -> None:
    """Run the service's own migrations, once per test run."""
    from phi_common.service import migrate

    module = service.replace("-", "_")
    password = system()["postgres"]["roles"][f"{module}_owner"]
    migrate(
        importlib.import_module(f"{module}.main").SERVICE,
        CommonSettings(migrate_password=password),
        shared_settings(),
    )


def emptied(service: str) -> None:
    """Remove all rows but those that a database starts with."""
    with admin(service.replace("-", "_")) as pg:
        names = [
            n for (n,) in pg.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") if n not in KEEP
        ]
        pg.execute(f"TRUNCATE {', '.join(names)}")


class LocalTopicKeys:
    """Topic keys without Transit, so that a test can seal for topics that its service may only read."""

    key = AESGCM(bytes(32))

    async def sending(self, topic: str) -> tuple[AESGCM, bytes]:
        """The one key."""
        return self.key, b"local"

    async def opening(self, topic: str, wrapped: bytes) -> AESGCM:
        """The one key."""
        return self.key


@dataclass
class Clock:
    """Business time that a test sets."""

    instant: datetime = START

    def now(self) -> datetime:
        """The set instant."""
        return self.instant

    def advance(self, **by: float) -> None:
        """Move on, by `timedelta` arguments."""
        self.instant += timedelta(**by)


def record(event: Event, *, event_id: UUID | None = None, at: datetime = START, body: bytes | None = None) -> Record:
    """The Kafka record of an event, sealed as the relay sends it; `body` replaces the JSON to break it."""
    chosen = event_id or new_id()
    context = f"{chosen}|{event.type}|{event.patient_id}".encode()
    headers = {
        "ce_specversion": "1.0", "ce_id": str(chosen), "ce_type": event.type, "ce_source": "/careloop/test",
        "ce_time": at.isoformat(), "ce_sequence": "1", "content-type": "application/json", "ck": "local",
        "traceparent": "00-" + chosen.hex + "-0000000000000001-00",
    }  # fmt: skip
    return Record(
        topic=event.topic,
        key=str(event.patient_id).encode(),
        headers=tuple((name, value.encode()) for name, value in headers.items()),
        value=seal(LocalTopicKeys.key, event.model_dump_json().encode() if body is None else body, context),
        partition=partition_of(event.patient_id),
    )


@asynccontextmanager
async def running(
    service: str, clock: Clock, folder: Path, settings: CommonSettings | None = None
) -> AsyncIterator[Runtime]:
    """A runtime of `service` on its emptied database: logged in, keys open, no Kafka."""
    migrated(service)
    emptied(service)
    used = settings or _settings(service)
    used.role_id = system()["vault"]["role_ids"][service]
    used.secret_id_file = wrapped_secret_id(service, folder)
    runtime = Runtime(service, used, shared_settings())
    runtime.now = clock.now
    await runtime.connect()
    runtime.topic_keys = runtime.db.topic_keys = LocalTopicKeys()  # type: ignore[assignment]
    try:
        await runtime.open_keys(create=True)
        yield runtime
    finally:
        await runtime.db.engine.dispose()
        runtime.vault.close()


def _settings(service: str) -> CommonSettings:
    module = service.replace("-", "_")
    found: CommonSettings = importlib.import_module(f"{module}.settings").Settings()
    return found


async def emitted(runtime: Runtime, kind: type[Event] | None = None) -> list[Event]:
    """What the outbox holds, opened, in order, each with its traceparent."""
    from phi_common.crypto import unseal
    from phi_common.events import event_classes

    classes = {found.type: found for found in event_classes()}
    async with runtime.transaction("test") as tx:
        rows = await tx.rows("SELECT event_id, type, key, body, traceparent FROM outbox ORDER BY id")
    opened = [
        classes[type_]
        .model_validate_json(unseal(LocalTopicKeys.key, body, f"{eid}|{type_}|{key}".encode()))
        .traced(traceparent)
        for eid, type_, key, body, traceparent in rows
    ]
    return [event for event in opened if kind is None or isinstance(event, kind)]


@dataclass
class TestAuthenticator:
    """Takes `Bearer role` or `Bearer role:patient-id` for a token; roles mean what deploy/roles.toml says."""

    __test__ = False
    roles: dict[str, frozenset[str]] = field(default_factory=lambda: roles_from(REPOSITORY / "deploy" / "roles.toml"))

    async def principal(self, token: str) -> Principal:
        """The principal that the token spells."""
        role, _, patient = token.partition(":")
        if role not in self.roles:
            raise Problem(401, "A valid access token is needed")
        return Principal(
            subject=f"test-{role}", roles=frozenset({role}), permissions=self.roles[role],
            patient_id=UUID(patient) if patient else None,
        )  # fmt: skip


def client(service: str, runtime: Runtime) -> Any:
    """An httpx2 client on the service's real app, without its lifespan; give `Authorization: Bearer <role>`."""
    import httpx2

    from phi_common.service import create_app, with_front

    main = importlib.import_module(f"{service.replace('-', '_')}.main")
    app: FastAPI = create_app(main.SERVICE, runtime.settings, runtime.shared)
    app.state.runtime = runtime
    app.state.authenticator = TestAuthenticator()
    served: Any = with_front(main.SERVICE, app)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(served), base_url="https://service.invalid")


def runtime_fixture(service: str) -> Callable[..., Any]:
    """For a service's conftest: `runtime = runtime_fixture("service-name")`; use it together with `clock`."""

    @pytest_asyncio.fixture
    async def runtime(clock: Clock, tmp_path: Path) -> AsyncIterator[Runtime]:
        async with running(service, clock, tmp_path) as found:
            yield found

    return runtime


@pytest.fixture
def clock() -> Clock:
    """Business time of the test, standing still until it is moved."""
    return Clock()
