"""Inbox, reviews and the carrier's webhook."""

import hashlib
import hmac
import json
import time

import pytest

from outreach import api
from outreach.domain.state import message_id
from phi_common.clock import new_id
from phi_common.testing import client

SECRET = b"carrier"


@pytest.fixture
def http(runtime):
    api.SIGNING[runtime] = SECRET
    return client("outreach", runtime)


def signed(body: bytes, *, secret: bytes = SECRET, age: int = 0) -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    mac = hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Timestamp": stamp, "X-Signature": mac}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def put_into_inbox(runtime, patient, text):
    async with runtime.transaction("test") as tx:
        await tx.lock([patient])
        sealed = tx.seal(patient, "portal_messages.sealed", text.encode())
        await tx.execute("INSERT INTO portal_messages VALUES (%s, %s, %s, %s)", [new_id(), patient, sealed, tx.now])


async def test_a_patient_reads_the_own_inbox_alone(runtime, http):
    patient, other = new_id(), new_id()
    await put_into_inbox(runtime, patient, "Your HbA1c test is due.")
    await put_into_inbox(runtime, other, "Something else")
    answer = await http.get(f"/patients/{patient}/inbox", headers=bearer(f"patient:{patient}"))
    assert [message["text"] for message in answer.json()] == ["Your HbA1c test is due."]
    assert (await http.get(f"/patients/{other}/inbox", headers=bearer(f"patient:{patient}"))).status_code == 403
    assert (await http.get(f"/patients/{patient}/inbox", headers=bearer("front-desk"))).status_code == 403
    async with runtime.transaction("test") as tx:
        query = "SELECT actor, patients FROM audit WHERE action = 'inbox:read'"
        assert await tx.rows(query) == [("test-patient", [patient])]


async def test_reviews_are_listed_for_staff(runtime, http):
    patient, gap = new_id(), new_id()
    async with runtime.transaction("test") as tx:
        await tx.execute(
            "INSERT INTO reviews VALUES (%s, %s, 'no-response', %s, NULL), (%s, %s, 'unreachable', %s, %s)",
            [gap, patient, tx.now, new_id(), patient, tx.now, tx.now],
        )
    answer = await http.get("/reviews", headers=bearer("care-coordinator"))
    assert [review["gap_id"] for review in answer.json()] == [str(gap)]
    assert (await http.get("/reviews", headers=bearer("patient:" + str(patient)))).status_code == 403


async def test_a_delivery_report_is_told_once(runtime, http, tell, sweep, story):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap))
    await sweep()
    async with runtime.transaction("test") as tx:
        sent = "UPDATE deliveries SET state = 'sent', at = %s, permit_id = %s, news = true"
        await tx.execute(sent, [tx.now, new_id()])
    body = json.dumps({"id": "x", "tag": str(message_id(gap, 1)), "status": "delivered"}).encode()
    for _ in range(2):
        answer = await http.post("/webhooks/sms/status", content=body, headers=signed(body))
        assert answer.status_code == 204
        await sweep()
    async with runtime.transaction("test") as tx:
        kinds = await tx.rows("SELECT type FROM outbox ORDER BY id")
    assert kinds == [("OutreachScheduled.v1",), ("MessageSent.v1",), ("MessageDelivered.v1",)]


@pytest.mark.parametrize(
    "headers",
    [{}, {"secret": b"other"}, {"age": 600}, {"age": -600}],
    ids=["no signature", "wrong secret", "old", "from the future"],
)
async def test_an_unsigned_report_is_refused(http, headers):
    body = json.dumps({"tag": str(new_id()), "status": "delivered"}).encode()
    given = signed(body, **headers) if headers else {}
    assert (await http.post("/webhooks/sms/status", content=body, headers=given)).status_code in (401, 422)


async def test_a_report_that_is_none_is_refused(http):
    assert (await http.post("/webhooks/sms/status", content=b"{}", headers=signed(b"{}"))).status_code == 422
