"""The routes: preferences, permits, and signed texts from the provider."""

import asyncio
import hmac
import json
import time

import pytest

from consent import consumers, drain
from consent.domain.preferences import Allow
from phi_common.clock import new_id
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.patients import ContactChanged, Phone, Use
from phi_common.testing import client, emitted, record

NUMBER = "+12025550101"
GATE = {"Authorization": "Bearer service"}


@pytest.fixture
async def http(runtime):
    async with client("consent", runtime) as opened:
        yield opened


@pytest.fixture
async def patient(runtime):
    patient = new_id()
    contact = ContactChanged(patient_id=patient, phones=(Phone(number=NUMBER, use=Use.MOBILE),))
    await consumers.contacts.handle(runtime, [record(contact)])
    await consumers.preferences.act(runtime, [Allow(patient, Channel.SMS, "staff", wording="sms-1")], "staff")
    return patient


def put(http, patient, body, *, channel="sms", role="front-desk", key=None):
    headers = {"Authorization": f"Bearer {role}", "Idempotency-Key": key or str(new_id())}
    return http.put(f"/patients/{patient}/preferences/{channel}", json=body, headers=headers)


def ask(http, patient, **more):
    body = {"message_id": str(new_id()), "patient_ids": [str(patient)], "channel": "sms", "address": NUMBER}
    return http.post("/permits", json=body | {"purpose": "care-gap"} | more, headers=GATE)


async def text(http, runtime, words, *, sender=NUMBER, provider_id=None, age=0, secret=None):
    secret = secret or (await runtime.vault.secret("webhook/sms"))["secret"]
    body = json.dumps({"id": provider_id or str(new_id()), "from": sender, "text": words}).encode()
    stamp = str(int(time.time()) - age)
    signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, "sha256").hexdigest()
    headers = {"X-Timestamp": stamp, "X-Signature": signature}
    return await http.post("/webhooks/sms/inbound", content=body, headers=headers)


async def test_staff_open_a_channel_and_it_shows_with_its_evidence(http):
    patient = new_id()
    body = {"permission": "allowed", "preferred": True, "wording": "portal-1", "evidence": "form 7"}
    opened = await put(http, patient, body, channel="portal")
    assert (opened.status_code, opened.json()) == (200, {"state": "effective"})
    shown = await http.get(f"/patients/{patient}/preferences", headers={"Authorization": "Bearer clinician"})
    assert shown.json()["preferred"] == "portal"
    assert shown.json()["unread_replies"] == 0
    portal = shown.json()["channels"]["portal"]
    assert (portal["permission"], portal["wording"], portal["by"]) == (
        "allowed",
        "portal-1",
        "test-front-desk",
    )


async def test_a_patient_closes_a_channel_and_hears_that_it_is_effective(http, patient):
    closed = await put(http, patient, {"permission": "blocked"}, role=f"patient:{patient}")
    assert (closed.status_code, closed.json()["state"]) == (200, "effective")
    assert (await ask(http, patient)).json()["reason"] == "opted-out"


async def test_while_a_permit_is_open_the_answer_is_pending_and_the_same_request_hears_of_the_end(http, patient):
    permit = (await ask(http, patient)).json()
    pending = await put(http, patient, {"permission": "blocked"}, key="k1")
    assert (pending.status_code, pending.json()["state"]) == (202, "pending")
    await http.post(f"/permits/{permit['id']}/close", json={"outcome": "sent"}, headers=GATE)
    effective = await put(http, patient, {"permission": "blocked"}, key="k1")
    assert (effective.status_code, effective.json()["state"]) == (200, "effective")
    assert effective.json()["optout"] == pending.json()["optout"]


async def test_a_key_is_not_taken_for_another_channel(http):
    patient = new_id()
    body = {"permission": "allowed", "wording": "w"}
    assert (await put(http, patient, body, channel="sms", key="k1")).status_code == 200
    assert (await put(http, patient, body, channel="email", key="k1")).status_code == 409


async def test_consent_without_evidence_is_refused(http):
    answer = await put(http, new_id(), {"permission": "allowed"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "evidence-missing")


async def test_an_erased_patient_is_unknown(http, runtime, patient):
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(patient)
    assert (await put(http, patient, {"permission": "blocked"})).status_code == 404
    assert (await text(http, runtime, "STOP")).status_code == 200


async def test_patients_reach_their_own_preferences_only(http, patient):
    assert (await put(http, patient, {"permission": "blocked"}, role=f"patient:{new_id()}")).status_code == 403


async def test_the_gate_gets_a_permit_and_closes_it(http, patient):
    granted = await ask(http, patient)
    assert granted.status_code == 201
    assert granted.json()["expires_in_ms"] == 5000
    path = f"/permits/{granted.json()['id']}/close"
    assert (await http.post(path, json={"outcome": "sent"}, headers=GATE)).status_code == 200
    assert (await http.post(path, json={"outcome": "not-sent"}, headers=GATE)).status_code == 409


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"channel": "email"}, "no-consent"),
        ({"address": "12"}, "no-address"),
        ({"address": None}, "no-address"),
    ],
)
async def test_a_refusal_names_its_reason(http, patient, asked, reason):
    answer = await ask(http, patient, **asked)
    assert (answer.status_code, answer.json()["reason"]) == (403, reason)


async def test_a_message_has_one_permit(http, patient):
    message = str(new_id())
    assert (await ask(http, patient, message_id=message)).status_code == 201
    assert (await ask(http, patient, message_id=message)).status_code == 409


async def test_only_the_gate_may_ask(http, patient):
    answer = await http.post("/permits", json={}, headers={"Authorization": "Bearer front-desk"})
    assert answer.status_code == 403


async def test_stop_blocks_everybody_at_the_number_and_the_number_itself(http, runtime, patient):
    shared = new_id()
    contact = ContactChanged(patient_id=shared, phones=(Phone(number=NUMBER, use=Use.MOBILE),))
    await consumers.contacts.handle(runtime, [record(contact)])
    assert (await text(http, runtime, "Stop!")).json() == {"state": "received"}
    told = {e.patient_id: e.permission for e in await emitted(runtime, PreferenceChanged)}
    assert told == {patient: Permission.BLOCKED, shared: Permission.BLOCKED}
    assert (await ask(http, patient)).json()["reason"] == "opted-out"


async def test_the_answer_does_not_tell_whether_the_number_is_known(http, runtime, patient):
    known, unknown = (
        await text(http, runtime, "STOP"),
        await text(http, runtime, "STOP", sender="+12025550199"),
    )
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


async def test_a_text_delivered_twice_counts_once(http, runtime, patient):
    await text(http, runtime, "STOP", provider_id="m1")
    allowed = {"permission": "allowed", "wording": "sms-2"}
    assert (await put(http, patient, allowed)).status_code == 200
    assert (await text(http, runtime, "STOP", provider_id="m1")).status_code == 200
    assert (await ask(http, patient)).status_code == 201


@pytest.mark.parametrize(
    ("words", "status"), [("ok thanks", 201), ("START", 201), ("leave me alone", 403), ("unsubscribe", 403)]
)
async def test_in_doubt_a_reply_blocks(http, runtime, patient, words, status):
    await text(http, runtime, words)
    assert (await ask(http, patient)).status_code == status


@pytest.mark.parametrize("wrong", [{"age": 301}, {"age": -301}, {"secret": "guessed"}])
async def test_an_unsigned_or_old_text_is_refused(http, runtime, patient, wrong):
    assert (await text(http, runtime, "STOP", **wrong)).status_code == 401
    assert (await ask(http, patient)).status_code == 201


async def test_a_stop_becomes_effective_by_itself(http, runtime, patient):
    async with drain.draining(runtime):
        await text(http, runtime, "STOP")
        assert await drain.pending(runtime) == 1
        await asyncio.sleep(2 * drain.POLL_SECONDS)
        assert await drain.pending(runtime) == 0
