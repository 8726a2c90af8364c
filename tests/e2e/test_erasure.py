"""One patient is erased in every service at once: on the real databases, with the bus carried by hand."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest
from house import SERVICES

from consent import consumers as consent
from consent.domain.preferences import Allow
from consent.replies import Inbound, take
from outreach.gate import deliveries
from phi_common.clock import new_id
from phi_common.crypto import Undecryptable
from phi_common.events import Event
from phi_common.events.consent import Channel
from phi_common.runtime import Runtime
from phi_common.service import Service
from phi_common.testing import Clock, admin, client, clock, emitted, record, running

__all__ = ["clock"]

NUMBER = "+12025550123"
MRN = {"system": "urn:mrn", "value": "42"}
ACTIVE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
CLEAR = {"digest", "sha256"}
"""Bytes that are no ciphertext: keyed digests, and that of a raw message."""
STAYS = {"audit", "consents", "facts"}
"""Tables that may still name an erased patient: who did what, and histories that nobody can read any more."""
BYTES = """
SELECT table_name, column_name FROM information_schema.columns b
WHERE table_schema = 'public' AND data_type = 'bytea' AND table_name NOT IN ('patient_keys', 'dead_letters')
AND EXISTS (SELECT FROM information_schema.columns p
            WHERE p.table_schema = 'public' AND p.table_name = b.table_name AND p.column_name = 'patient_id')
"""
OWNERS = (
    "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'patient_id'"
)


@dataclass
class World:
    """All services as one process, and what went between them."""

    clock: Clock
    services: dict[str, Service] = field(default_factory=dict)
    runtimes: dict[str, Runtime] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)

    async def carry(self) -> list[Event]:
        """Take what waits in all outboxes to who reads it, until nothing waits."""
        carried: list[Event] = []
        while news := [event for runtime in self.runtimes.values() for event in await self._taken(runtime)]:
            await self.tell(news)
            carried += news
        self.told += carried
        return carried

    async def _taken(self, runtime: Runtime) -> list[Event]:
        waiting = await emitted(runtime)
        async with runtime.transaction("test") as tx:
            await tx.execute("DELETE FROM outbox")
        return waiting

    async def tell(self, events: list[Event]) -> None:
        """Give each event to every subscription of its topic."""
        for name, service in self.services.items():
            for subscription in service.subscriptions:
                records = [record(event) for event in events if event.topic == subscription.topic]
                if records:
                    await subscription.handle(self.runtimes[name], records)

    async def sweep(self) -> None:
        """Take everything that is due."""
        for name, service in self.services.items():
            for sweep in service.sweeps:
                while await sweep.run(self.runtimes[name], self.clock.now()):
                    pass


@pytest.fixture
async def world(clock: Clock, tmp_path: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        found = World(clock)
        for member in SERVICES:
            found.services[member.name] = import_module(f"{member.package}.main").SERVICE
            found.runtimes[member.name] = await stack.enter_async_context(running(member.name, clock, tmp_path))
        yield found


async def post(world: World, kind: str, **said: Any) -> Any:
    headers = {"Authorization": "Bearer interface", "Content-Type": "application/fhir+json"}
    body = json.dumps({"resourceType": kind} | said).encode()
    async with client("ingest-fhir", world.runtimes["ingest-fhir"]) as http:
        return await http.post(f"/fhir/{kind}", content=body, headers=headers)


def coded(system: str, code: str) -> dict[str, Any]:
    return {"code": {"coding": [{"system": system, "code": code}]}, "subject": {"identifier": MRN}}


async def registered(world: World) -> UUID:
    phone = {"system": "phone", "use": "mobile", "value": NUMBER}
    answer = await post(world, "Patient", identifier=[MRN], name=[{"family": "Synthetic"}], telecom=[phone])
    assert answer.status_code == 201, answer.text
    return UUID(answer.headers["location"].rpartition("/")[2])


async def a_patient_with_everything(world: World) -> UUID:
    """Registered, ill, overdue, reached once by portal; a text and an unread reply wait, and a sweep."""
    patient = await registered(world)
    diabetes = coded("http://hl7.org/fhir/sid/icd-10-cm", "E11.9") | {"clinicalStatus": ACTIVE}
    assert (await post(world, "Condition", **diabetes)).status_code == 201
    result = {"status": "final", "effectiveDateTime": "2025-01-20", "valueQuantity": {"value": 7.1, "unit": "%"}}
    assert (await post(world, "Observation", **coded("http://loinc.org", "4548-4"), **result)).status_code == 201
    agreed = [Allow(patient, channel, "staff", wording="form-1") for channel in (Channel.PORTAL, Channel.SMS)]
    await consent.preferences.act(world.runtimes["consent"], agreed, "staff")
    await world.carry()
    await world.sweep()
    async with world.runtimes["outreach"].transaction("gate") as tx:
        (message,) = await deliveries.claim(tx, 10)
        await deliveries.to_portal(tx, message, tx.now)
        await deliveries.put_back(tx, message.message_id)
    await take(world.runtimes["consent"], Inbound.model_validate({"id": "SM1", "from": NUMBER, "text": "my sister"}))
    await world.carry()
    return patient


def cells(patient: UUID) -> dict[tuple[str, str], bytes]:
    """One cell of each column of bytes about this patient: (service, table.column) to its content."""
    found = {}
    for member in SERVICES:
        with admin(member.package) as pg:
            for table, column in pg.execute(BYTES).fetchall():
                query = f"SELECT {column} FROM {table} WHERE patient_id = %s AND {column} IS NOT NULL LIMIT 1"
                for (cell,) in pg.execute(query, [patient]).fetchall():
                    if column not in CLEAR:
                        found[member.name, f"{table}.{column}"] = bytes(cell)
                assert column in CLEAR or (member.name, f"{table}.{column}") in found, "the patient lacks this cell"
    return found


def naming(patient: UUID) -> set[tuple[str, str]]:
    """Which tables have rows of this patient."""
    found = set()
    for member in SERVICES:
        with admin(member.package) as pg:
            for (table,) in pg.execute(OWNERS).fetchall():
                if pg.execute(f"SELECT 1 FROM {table} WHERE patient_id = %s", [patient]).fetchone():
                    found.add((member.name, table))
    return found


async def opened(world: World, patient: UUID, sealed: dict[tuple[str, str], bytes]) -> set[tuple[str, str]]:
    """Which of these cells the services can open."""
    found = set()
    for (name, column), cell in sealed.items():
        async with world.runtimes[name].transaction("test") as tx:
            await tx.load_keys([patient])
            try:
                tx.open(patient, column, cell)
            except Undecryptable:
                continue
            found.add((name, column))
    return found


async def erase(world: World, patient: UUID) -> None:
    headers = {"Authorization": "Bearer privacy-officer", "Idempotency-Key": str(new_id())}
    async with client("patient-profile", world.runtimes["patient-profile"]) as http:
        answer = await http.post(f"/patients/{patient}/erasure", json={"basis": "request"}, headers=headers)
    assert answer.status_code == 202, answer.text


async def test_no_service_opens_a_cell_of_an_erased_patient(world: World) -> None:
    patient = await a_patient_with_everything(world)
    sealed = cells(patient)
    assert await opened(world, patient, sealed) == set(sealed)
    await erase(world, patient)
    await world.carry()
    assert await opened(world, patient, sealed) == set()
    assert {table for _, table in naming(patient)} <= STAYS


async def test_nothing_is_swept_sent_found_or_stored_again(world: World) -> None:
    patient = await a_patient_with_everything(world)
    await erase(world, patient)
    await world.carry()
    history, left = list(world.told), naming(patient)
    world.clock.advance(days=400)
    await world.sweep()
    assert (await post(world, "Patient", identifier=[MRN], name=[{"family": "Synthetic"}])).status_code == 410
    await world.tell(history)
    await world.sweep()
    assert await world.carry() == []
    assert naming(patient) == left
    async with world.runtimes["outreach"].transaction("gate") as tx:
        assert await deliveries.claim(tx, 10) == []
