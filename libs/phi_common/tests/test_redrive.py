"""Redriving dead letters by the route: once per key, and on record together with what it changed."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from phi_common.decision import Decision
from phi_common.eventing import erasure
from phi_common.eventing.consume import Subscription
from phi_common.events.care_gap import GapOpened
from phi_common.service import Service, create_app
from phi_common.testing import TestAuthenticator, record

from .test_consume import letters, opened

REDRIVE = "/dead-letters/redrive"


def mended(broken: Subscription) -> Subscription:
    """The same subscription after its decider was put right."""
    return Subscription(
        broken.topic, broken.decide | {GapOpened: lambda s, e, n: Decision(s)}, broken.load, broken.save
    )


@pytest.fixture
async def http(runtime: Any, ordered: Subscription) -> Any:
    app = create_app(Service("outreach", subscriptions=[mended(ordered)]), runtime.settings, runtime.shared)
    app.state.runtime, app.state.authenticator = runtime, TestAuthenticator()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://service.invalid") as found:
        yield found


def redrive(http: Any, key: str | None, **more: Any) -> Any:
    headers = {"Authorization": "Bearer admin"} | ({"Idempotency-Key": key} if key else {})
    return http.post(REDRIVE, headers=headers, **more)


async def broken(runtime: Any, ordered: Subscription, patient: Any) -> None:
    await ordered.handle(runtime, [record(opened(patient, "raise"))])


async def test_a_key_redrives_once_and_gives_the_first_answer_again(http, runtime, ordered, pg):
    await broken(runtime, ordered, uuid4())
    first = await redrive(http, "k1")
    assert (first.status_code, first.json()) == (200, {ordered.topic: 1})
    await broken(runtime, ordered, uuid4())
    assert (await redrive(http, "k1")).json() == first.json()
    assert len(letters(pg)) == 1, "the repeat redrove nothing"
    assert (await redrive(http, "k1", content=b"{}")).status_code == 409
    assert (await redrive(http, "k2")).json() == {ordered.topic: 1}
    assert letters(pg) == []


async def test_without_a_key_nothing_is_redriven(http, runtime, ordered, pg):
    await broken(runtime, ordered, uuid4())
    assert (await redrive(http, None)).status_code == 422
    assert len(letters(pg)) == 1


async def test_who_redrove_is_written_with_the_change_itself(http, runtime, ordered, pg):
    patients = [uuid4(), uuid4()]
    for patient in patients:
        await broken(runtime, ordered, patient)
    await redrive(http, "k1")
    found = pg.execute(
        "SELECT actor, patients, r.details FROM audit r JOIN audit a USING (xid, actor, patients)"
        " WHERE r.action = 'redrive:' || %s AND a.action = 'apply:GapOpened.v1'",
        [ordered.topic],
    ).fetchall()
    assert sorted(found) == sorted(("test-admin", [patient], ["1/1"]) for patient in patients)
    asked = "SELECT actor, details FROM audit JOIN answers ON xid::xid = answers.xmin WHERE action = %s"
    assert pg.execute(asked, ["dead-letters:redrive"]).fetchall() == [("test-admin", ["2"])]


async def test_a_redrive_that_cannot_be_put_on_record_changes_nothing(http, runtime, ordered, pg):
    await broken(runtime, ordered, uuid4())
    pg.execute("ALTER TABLE audit ADD CONSTRAINT planted CHECK (action NOT LIKE 'redrive:%')")
    assert (await redrive(http, "k1")).json() == {ordered.topic: 0}
    assert len(letters(pg)) == 1
    assert isinstance(pg, psycopg.Connection)


async def test_a_redrive_waits_for_an_erasure_and_finds_nothing(runtime, ordered, pg):
    """Both need the subject and its letters, and take them in the same order."""
    patient = uuid4()
    await ordered.handle(runtime, [record(opened(patient, rule)) for rule in ("raise", "b")])

    async def nothing_more(tx: Any, patients: Any) -> None: ...

    async with runtime.transaction("privacy-officer") as tx:
        await tx.lock([patient])
        redriven = asyncio.create_task(mended(ordered).redrive(runtime, "operator"))
        await asyncio.sleep(0.2)
        await erasure.erase(tx, [patient], nothing_more)
    assert await redriven == 0
    assert letters(pg) == []
