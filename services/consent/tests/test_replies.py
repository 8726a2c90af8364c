"""Replies in doubt: nothing goes out until a person has read them, and what the person decides is what holds."""

import asyncio

import pytest
import pytest_asyncio

from consent import consumers
from consent.domain.permits import Purpose, Refusal
from consent.domain.preferences import Allow
from consent.replies import Inbound, take
from consent.storage import permits
from consent.storage.permits import Permit, Request
from phi_common.clock import new_id
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.patients import ContactChanged, Phone, Use
from phi_common.testing import client, emitted, record

NUMBER, NOBODYS = "+12025550101", "+12025550155"
SMS = Channel.SMS
DOUBT = "who is this? my sister died"


@pytest_asyncio.fixture
async def http(runtime):
    async with client("consent", runtime) as opened:
        yield opened


@pytest_asyncio.fixture
async def patient(runtime):
    return await somebody(runtime)


async def somebody(runtime, number=NUMBER):
    patient = new_id()
    contact = ContactChanged(patient_id=patient, phones=(Phone(number=number, use=Use.MOBILE),))
    await consumers.contacts.handle(runtime, [record(contact)])
    await consumers.preferences.act(runtime, [Allow(patient, SMS, "staff", wording="sms-1")], "staff")
    return patient


async def text(runtime, words=DOUBT, sender=NUMBER):
    await take(runtime, Inbound.model_validate({"id": str(new_id()), "from": sender, "text": words}))


async def ask(runtime, *patients, number=NUMBER):
    wanted = Request(new_id(), patients, SMS, runtime.index.digest("phone", number), Purpose.CARE_GAP)
    async with runtime.transaction("gate") as tx:
        return await permits.grant(tx, wanted)


async def listed(http, role="care-coordinator"):
    answer = await http.get("/replies", headers={"Authorization": f"Bearer {role}"})
    assert answer.status_code == 200
    return answer.json()


def resolve(http, reply, decision, *, key=None, role="care-coordinator"):
    headers = {"Authorization": f"Bearer {role}", "Idempotency-Key": key or str(new_id())}
    return http.post(f"/replies/{reply['id']}/resolve", json={"decision": decision}, headers=headers)


async def told(runtime):
    return [event.permission for event in await emitted(runtime, PreferenceChanged)]


async def test_a_reply_in_doubt_is_listed_with_its_words_and_its_date(http, runtime, patient, clock):
    await text(runtime)
    (reply,) = await listed(http)
    assert (reply["patient_id"], reply["reply"], reply["text"]) == (str(patient), "doubt", DOUBT)
    assert (reply["received_at"], reply["decide_by"], reply["overdue"]) == ("2026-03-02T15:00:00Z", "2026-03-16", False)
    clock.advance(days=15)
    assert (await listed(http))[0]["overdue"]
    assert await ask(runtime, patient) is Refusal.OPTED_OUT, "nobody decided, so nothing opens by itself"


async def test_what_is_clear_is_not_listed(http, runtime, patient):
    for words in ("ok thanks", "HELP", "STOP"):
        await text(runtime, words)
    assert await listed(http) == []


async def test_who_reads_is_on_record_and_who_may_not_does_not(http, runtime, patient):
    await text(runtime)
    await listed(http)
    for role in ("clinician", f"patient:{patient}", "admin", "service"):
        assert (await http.get("/replies", headers={"Authorization": f"Bearer {role}"})).status_code == 403
    assert (await resolve(http, (await listed(http))[0], "no-opt-out", role="privacy-officer")).status_code == 403
    async with runtime.transaction("test") as tx:
        query = "SELECT DISTINCT actor, unnest(patients) FROM audit WHERE action = 'replies:read'"
        assert await tx.rows(query) == [("test-care-coordinator", patient)]


async def test_the_words_are_sealed_and_go_with_the_patients_key(http, runtime, patient):
    await text(runtime)
    async with runtime.transaction("test") as tx:
        ((sealed,),) = await tx.rows("SELECT sealed FROM flagged")
        assert b"sister" not in sealed
        await tx.shred(patient)
    (reply,) = await listed(http)
    assert reply["text"] is None
    assert (await resolve(http, reply, "no-opt-out")).status_code == 200
    later = await somebody(runtime)
    assert isinstance(await ask(runtime, later), Permit), "the number is free for who has it next"


async def test_no_opt_out_opens_what_was_open(http, runtime, patient):
    await text(runtime)
    assert await ask(runtime, patient) is Refusal.OPTED_OUT
    decided = await resolve(http, (await listed(http))[0], "no-opt-out")
    assert (decided.status_code, decided.json()) == (200, {"state": "decided"})
    assert isinstance(await ask(runtime, patient), Permit)
    assert await told(runtime) == [Permission.ALLOWED, Permission.BLOCKED, Permission.ALLOWED]
    assert await listed(http) == []


async def test_an_opt_out_stays_and_is_never_open_in_between(http, runtime, patient):
    await text(runtime)
    decided = await resolve(http, (await listed(http))[0], "opt-out")
    assert (decided.status_code, decided.json()["state"]) == (200, "effective")
    assert await ask(runtime, patient) is Refusal.OPTED_OUT
    assert Permission.ALLOWED not in (await told(runtime))[1:]
    later = await somebody(runtime)
    assert await ask(runtime, later) is Refusal.OPTED_OUT, "the number too"


async def test_a_stop_said_meanwhile_is_not_lifted_by_the_reading(http, runtime, patient):
    await text(runtime)
    (reply,) = await listed(http)
    await text(runtime, "STOP")
    assert (await resolve(http, reply, "no-opt-out")).status_code == 200
    assert await ask(runtime, patient) is Refusal.OPTED_OUT


async def test_each_of_two_replies_has_to_be_read(http, runtime, patient):
    await text(runtime)
    await text(runtime, "wrong number")
    first, second = await listed(http)
    await resolve(http, first, "no-opt-out")
    assert await ask(runtime, patient) is Refusal.OPTED_OUT
    await resolve(http, second, "no-opt-out")
    assert isinstance(await ask(runtime, patient), Permit)


async def test_a_shared_number_is_decided_for_each_and_the_strictest_wins(http, runtime, patient):
    other = await somebody(runtime)
    await text(runtime)
    first, second = await listed(http)
    assert {first["patient_id"], second["patient_id"]} == {str(patient), str(other)}
    await resolve(http, first, "no-opt-out")
    assert await ask(runtime, patient) is await ask(runtime, other) is Refusal.OPTED_OUT
    await resolve(http, second, "opt-out")
    assert await ask(runtime, patient) is Refusal.OPTED_OUT, "somebody at this number wants no texts there"


async def test_the_person_is_held_at_every_number_of_theirs(http, runtime, patient):
    await text(runtime)
    assert await ask(runtime, patient, number="+12025550102") is Refusal.OPTED_OUT
    await resolve(http, (await listed(http))[0], "no-opt-out")
    assert isinstance(await ask(runtime, patient, number="+12025550102"), Permit)


async def test_a_reply_from_a_number_nobody_has_holds_the_number(http, runtime):
    await text(runtime, sender=NOBODYS)
    later = await somebody(runtime, NOBODYS)
    assert await ask(runtime, later, number=NOBODYS) is Refusal.OPTED_OUT
    (reply,) = await listed(http)
    assert (reply["patient_id"], reply["text"]) == (None, DOUBT)
    await resolve(http, reply, "no-opt-out")
    assert isinstance(await ask(runtime, later, number=NOBODYS), Permit)


async def test_start_is_listed_and_opens_nothing(http, runtime, patient):
    await text(runtime, "STOP")
    await text(runtime, "START")
    (reply,) = await listed(http)
    assert reply["reply"] == "start"
    await resolve(http, reply, "no-opt-out")
    assert await ask(runtime, patient) is Refusal.OPTED_OUT


async def test_an_opt_out_read_out_of_a_start_waits_for_permits_as_any_other(http, runtime, patient):
    await text(runtime, "START")
    assert isinstance(await ask(runtime, patient), Permit)
    (reply,) = await listed(http)
    decided = await resolve(http, reply, "opt-out")
    assert (decided.status_code, decided.json()["state"]) == (202, "pending")


async def test_a_decision_is_taken_once(http, runtime, patient):
    await text(runtime)
    (reply,) = await listed(http)
    first = await resolve(http, reply, "no-opt-out", key="k1")
    assert (await resolve(http, reply, "no-opt-out", key="k1")).json() == first.json()
    assert (await resolve(http, reply, "opt-out", key="k1")).status_code == 409
    assert (await resolve(http, reply, "opt-out", key="k2")).status_code == 409
    assert (await resolve(http, {"id": new_id()}, "opt-out")).status_code == 404
    assert (await resolve(http, reply, "perhaps")).status_code == 422


async def test_two_people_who_decide_at_once_release_one_hold(http, runtime, patient):
    await text(runtime)
    await text(runtime, "wrong number")
    first, _ = await listed(http)
    answers = await asyncio.gather(*(resolve(http, first, "no-opt-out") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert await ask(runtime, patient) is Refusal.OPTED_OUT


@pytest.mark.parametrize("by", ["person", "number"])
async def test_a_hold_and_a_permit_have_an_order(runtime, patient, by):
    """The hold takes the rows that the permit shares: granted before, it is waited for; asked for later, refused."""
    number = NUMBER if by == "person" else NOBODYS
    async with runtime.transaction("gate") as tx:
        wanted = Request(new_id(), (patient,), SMS, runtime.index.digest("phone", number), Purpose.CARE_GAP)
        assert isinstance(await permits.grant(tx, wanted), Permit)
        holding = asyncio.create_task(text(runtime, sender=number))
        await asyncio.sleep(0.2)
        assert not holding.done()
    await holding
    assert await ask(runtime, patient, number=number) is Refusal.OPTED_OUT
    async with runtime.transaction("consent") as tx:
        assert await permits.settle(tx) == 0, "the permit is open: the hold is not effective yet"
