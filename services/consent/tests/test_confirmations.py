"""The one text that may follow an opt-out: once, soon, to where it came from, and nothing else beside it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from consent import consumers, drain
from consent.domain.permits import Outcome, Purpose, Refusal
from consent.domain.preferences import Allow, Block
from consent.replies import Inbound, take
from consent.storage import addresses, permits
from consent.storage.permits import Permit, Request
from phi_common.clock import new_id
from phi_common.events.consent import Channel, OptOutConfirmationDue
from phi_common.events.patients import ContactChanged, Phone, ProfileChanged, Use
from phi_common.testing import client, emitted, record

NUMBER, OTHER = "+12025550101", "+12025550102"
SMS = Channel.SMS


@pytest_asyncio.fixture
async def patient(runtime):
    return await somebody(runtime)


async def somebody(runtime, *numbers):
    patient = new_id()
    phones = tuple(Phone(number=number, use=Use.MOBILE) for number in numbers or (NUMBER,))
    await consumers.contacts.handle(runtime, [record(ContactChanged(patient_id=patient, phones=phones))])
    await consumers.preferences.act(runtime, [Allow(patient, SMS, "staff", wording="sms-1")], "staff")
    return patient


async def text(runtime, words="STOP", sender=NUMBER, received=None):
    sent = {"id": str(new_id()), "from": sender, "text": words, "received_at": received}
    await take(runtime, Inbound.model_validate(sent))


async def settle(runtime):
    async with runtime.transaction("consent") as tx:
        await permits.settle(tx)


async def due(runtime):
    await settle(runtime)
    return await emitted(runtime, OptOutConfirmationDue)


async def ask(runtime, patient, optout_id, number=NUMBER, purpose=Purpose.OPTOUT_CONFIRM):
    digest = runtime.index.digest("phone", number)
    async with runtime.transaction("gate") as tx:
        return await permits.grant(tx, Request(new_id(), (patient,), SMS, digest, purpose, optout_id))


async def close(runtime, permit, outcome):
    async with runtime.transaction("gate") as tx:
        assert await permits.close(tx, permit.id, outcome)


async def test_a_stop_is_confirmed_where_it_came_from_once_it_is_effective(runtime, patient):
    open_permit = await ask(runtime, patient, None, purpose=Purpose.CARE_GAP)
    await text(runtime)
    assert await due(runtime) == [], "a message of before may still be under way"
    await close(runtime, open_permit, Outcome.SENT)
    (event,) = await due(runtime)
    assert (event.patient_id, event.channel, event.address) == (patient, SMS, NUMBER)
    assert await due(runtime) == [event]


async def test_the_number_is_sealed_while_it_waits_and_forgotten_then(runtime, patient):
    await ask(runtime, patient, None, purpose=Purpose.CARE_GAP)
    await text(runtime)
    async with runtime.transaction("test") as tx:
        ((sealed,),) = await tx.rows("SELECT address FROM optouts")
        assert NUMBER[1:].encode() not in sealed
        await tx.execute("UPDATE permits SET closed_at = now(), outcome = 'sent'")
    assert len(await due(runtime)) == 1
    async with runtime.transaction("test") as tx:
        assert await tx.rows("SELECT address FROM optouts") == [(None,)]


async def test_one_permit_for_an_opt_out_whatever_the_message_is_called(runtime, patient):
    await text(runtime)
    (event,) = await due(runtime)
    first = await ask(runtime, patient, event.optout_id)
    assert isinstance(first, Permit)
    assert await ask(runtime, patient, event.optout_id) is Refusal.ALREADY_GRANTED
    await close(runtime, first, Outcome.UNKNOWN)
    assert await ask(runtime, patient, event.optout_id) is Refusal.ALREADY_GRANTED
    await close(runtime, first, Outcome.NOT_SENT)
    assert isinstance(await ask(runtime, patient, event.optout_id), Permit), "provably nothing went out"


async def test_many_gates_at_once_get_one_permit(runtime, patient):
    await text(runtime)
    (event,) = await due(runtime)
    answers = await asyncio.gather(*(ask(runtime, patient, event.optout_id) for _ in range(8)))
    assert sum(isinstance(answer, Permit) for answer in answers) == 1


async def test_nothing_else_may_follow(runtime, patient):
    await text(runtime)
    (event,) = await due(runtime)
    assert await ask(runtime, patient, None, purpose=Purpose.CARE_GAP) is Refusal.OPTED_OUT
    assert await ask(runtime, patient, event.optout_id, OTHER) is Refusal.NOT_CONFIRMABLE
    assert await ask(runtime, patient, new_id()) is Refusal.NOT_CONFIRMABLE
    assert isinstance(await ask(runtime, patient, event.optout_id), Permit)
    assert await ask(runtime, patient, None, purpose=Purpose.CARE_GAP) is Refusal.OPTED_OUT


async def test_not_before_the_opt_out_is_effective(runtime, patient):
    held = await ask(runtime, patient, None, purpose=Purpose.CARE_GAP)
    await text(runtime)
    async with runtime.transaction("test") as tx:
        ((optout,),) = await tx.rows("SELECT id FROM optouts")
    assert await ask(runtime, patient, optout) is Refusal.NOT_CONFIRMABLE
    await close(runtime, held, Outcome.SENT)
    await settle(runtime)
    assert isinstance(await ask(runtime, patient, optout), Permit)


@pytest.mark.parametrize(("seconds", "late"), [(290, False), (296, True), (3600, True), (-3600, False)])
async def test_five_minutes_count_from_when_the_provider_got_it_and_the_permits_life_is_in_them(
    runtime, patient, seconds, late
):
    await text(runtime, received=(datetime.now(UTC) - timedelta(seconds=seconds)).isoformat())
    (event,) = await due(runtime)
    answer = await ask(runtime, patient, event.optout_id)
    assert (answer is Refusal.TOO_LATE) is late


async def test_a_stop_said_again_is_not_confirmed_again_before_it_was_taken_back(runtime, patient):
    await text(runtime)
    await text(runtime, "Stop!!")
    await text(runtime, "UNSUBSCRIBE")
    assert len(await due(runtime)) == 1
    async with runtime.transaction("staff") as tx:
        await consumers.preferences.within(tx, [Allow(patient, SMS, "staff", wording="sms-2")])
        await addresses.lift(tx, SMS, patient)
    await text(runtime)
    assert len(await due(runtime)) == 2


async def test_two_stops_at_once_are_one(runtime, patient):
    await asyncio.gather(text(runtime), text(runtime), text(runtime))
    assert len(await due(runtime)) == 1


async def test_newer_consent_makes_a_late_confirmation_wrong(runtime, patient):
    await text(runtime)
    (event,) = await due(runtime)
    async with runtime.transaction("staff") as tx:
        await consumers.preferences.within(tx, [Allow(patient, SMS, "staff", wording="sms-2")])
        await addresses.lift(tx, SMS, patient)
    assert await ask(runtime, patient, event.optout_id) is Refusal.NOT_CONFIRMABLE


async def test_a_shared_number_gets_one_and_the_living_get_it(runtime, patient):
    other = await somebody(runtime)
    first, second = sorted([patient, other])
    await consumers.preferences.handle(runtime, [record(ProfileChanged(patient_id=first, deceased=True))])
    await text(runtime)
    assert [event.patient_id for event in await due(runtime)] == [second]


@pytest.mark.parametrize("words", ["leave me alone", "START", "HELP", "ok thanks"])
async def test_only_a_definite_stop_is_confirmed(runtime, patient, words):
    await text(runtime, words)
    assert await due(runtime) == []


async def test_a_number_that_nobody_has_gets_no_answer(runtime, patient):
    await text(runtime, sender=OTHER)
    assert await due(runtime) == []


async def test_a_block_that_was_not_texted_is_not_confirmed(runtime, patient):
    async with runtime.transaction("patient") as tx:
        await consumers.preferences.within(tx, [Block(patient, SMS, "patient")])
        optout = await permits.opt_out(tx, SMS, [patient])
    assert await due(runtime) == []
    assert await ask(runtime, patient, optout) is Refusal.NOT_CONFIRMABLE


async def test_who_is_erased_meanwhile_gets_none(runtime, patient):
    held = await ask(runtime, patient, None, purpose=Purpose.CARE_GAP)
    await text(runtime)
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(patient)
    await close(runtime, held, Outcome.SENT)
    assert await due(runtime) == []
    assert await drain.pending(runtime) == 0


async def test_a_practice_whose_provider_confirms_says_so(runtime, patient):
    runtime.settings.confirm_optouts = False
    await text(runtime)
    assert await due(runtime) == []


@pytest.mark.parametrize(
    "asked", [{"purpose": "optout-confirm"}, {"purpose": "care-gap", "optout_id": str(new_id())}, {"purpose": "promo"}]
)
async def test_a_purpose_that_has_no_rule_is_no_request(runtime, patient, asked):
    body = {"message_id": str(new_id()), "patient_ids": [str(patient)], "channel": "sms", "address": NUMBER} | asked
    async with client("consent", runtime) as http:
        answer = await http.post("/permits", json=body, headers={"Authorization": "Bearer service"})
    assert answer.status_code == 422
    assert NUMBER not in json.dumps(answer.json())


async def test_a_text_what_follows_from_it_and_its_confirmation_are_one_trace(runtime, patient):
    await text(runtime)
    await settle(runtime)
    *_, changed, confirmed = await emitted(runtime)
    assert isinstance(confirmed, OptOutConfirmationDue)
    assert changed.trace == confirmed.trace != ""
