"""An erased patient: no permit, no address, and still no text after an opt-out that was called effective."""

import asyncio

import pytest

from consent import consumers
from consent.domain.permits import Outcome, Purpose, Refusal
from consent.domain.preferences import Allow, Block
from consent.domain.replies import Reply
from consent.replies import Inbound, take
from consent.storage import addresses, flagged, permits
from consent.storage.permits import Permit, Request
from phi_common.clock import new_id
from phi_common.events.consent import Channel, OptOutConfirmationDue
from phi_common.events.patients import ContactChanged, PatientErased, Phone, ProfileChanged, Use
from phi_common.testing import emitted, record
from phi_common.transaction import Erased

SMS = Channel.SMS
NUMBER = "+12025550101"
DOUBT = "my sister has this phone now"
WAITING = "SELECT count(*) FROM optouts WHERE confirm_for IS NOT NULL OR address IS NOT NULL"


async def somebody(runtime):
    patient = new_id()
    contact = ContactChanged(patient_id=patient, phones=(Phone(number=NUMBER, use=Use.MOBILE),))
    await consumers.contacts.handle(runtime, [record(contact)])
    await consumers.preferences.act(runtime, [Allow(patient, SMS, "staff", wording="sms-1")], "staff")
    return patient


@pytest.fixture
async def patient(runtime):
    """Somebody who agreed to texts."""
    return await somebody(runtime)


async def erase(runtime, *patients):
    await consumers.preferences.handle(runtime, [record(PatientErased(patient_id=patient)) for patient in patients])


async def ask(runtime, patient, purpose=Purpose.CARE_GAP, optout_id=None):
    digest = runtime.index.digest("phone", NUMBER)
    async with runtime.transaction("gate") as tx:
        return await permits.grant(tx, Request(new_id(), (patient,), SMS, digest, purpose, optout_id))


async def text(runtime, words):
    await take(runtime, Inbound.model_validate({"id": str(new_id()), "from": NUMBER, "text": words}))


async def close(runtime, permit):
    async with runtime.transaction("gate") as tx:
        await permits.close(tx, permit.id, Outcome.SENT)


async def settle(runtime):
    async with runtime.transaction("consent") as tx:
        await permits.settle(tx)
        return await permits.pending(tx)


async def rows(runtime, query):
    async with runtime.transaction("test") as tx:
        return await tx.rows(query)


async def test_nothing_is_allowed_and_no_address_leads_to_the_patient(runtime, patient):
    other = await somebody(runtime)
    await erase(runtime, patient)
    assert await ask(runtime, patient) is Refusal.NO_CONSENT
    assert isinstance(await ask(runtime, other), Permit)
    for table in ("people", "preferences", "addresses"):
        assert await rows(runtime, f"SELECT patient_id FROM {table}") == [(other,)], table
    assert await rows(runtime, "SELECT patient_id FROM patient_keys") == [(other,)]
    assert await rows(runtime, "SELECT count(DISTINCT patient_id) FROM consents") == [(2,)]


async def test_what_comes_after_allows_nothing(runtime, patient):
    await erase(runtime, patient)
    told = await emitted(runtime)
    contact = ContactChanged(patient_id=patient, phones=(Phone(number=NUMBER, use=Use.MOBILE),))
    await consumers.contacts.handle(runtime, [record(contact)])
    await consumers.preferences.handle(runtime, [record(ProfileChanged(patient_id=patient))])
    with pytest.raises(Erased):
        await consumers.preferences.act(runtime, [Allow(patient, SMS, "staff", wording="sms-1")], "staff")
    assert await rows(runtime, "SELECT * FROM addresses") == []
    assert await ask(runtime, patient) is Refusal.NO_CONSENT
    assert await emitted(runtime) == told


async def test_behind_a_dead_letter_too(runtime, patient):
    broken = record(ProfileChanged(patient_id=patient), body=b"{}")
    await consumers.preferences.handle(runtime, [broken])
    await erase(runtime, patient)
    assert await ask(runtime, patient) is Refusal.NO_CONSENT
    assert await rows(runtime, "SELECT * FROM dead_letters") == []


async def test_a_permit_keeps_its_address_only_while_somebody_can_use_it(runtime, patient):
    used, open_one = await ask(runtime, patient), await ask(runtime, patient)
    await close(runtime, used)
    await erase(runtime, patient)
    assert await settle(runtime) == 1, "the open permit keeps one of three channels waiting"
    assert await rows(runtime, "SELECT count(*) FROM permits WHERE digest IS NOT NULL") == [(2,)]
    await close(runtime, open_one)
    assert await settle(runtime) == 0
    assert await rows(runtime, "SELECT count(*) FROM permits WHERE digest IS NOT NULL") == [(0,)]
    assert await rows(runtime, "SELECT count(*) FROM permits") == [(2,)]


async def test_a_stop_from_a_shared_number_waits_for_the_permit_of_an_erased_patient(runtime, patient):
    other = await somebody(runtime)
    permit = await ask(runtime, patient)
    await erase(runtime, patient)
    await settle(runtime)
    async with runtime.transaction("provider") as tx:
        digest = runtime.index.digest("phone", NUMBER)
        assert await addresses.patients_at(tx, digest) == [other]
        await consumers.preferences.within(tx, [Block(other, SMS, "provider", "STOP")])
        await addresses.block(tx, SMS, digest)
        stop = await permits.opt_out(tx, SMS, [other], digest)
    assert await settle(runtime) == 2
    await close(runtime, permit)
    assert await settle(runtime) == 0
    assert await rows(runtime, f"SELECT digest IS NOT NULL FROM optouts WHERE id = '{stop}'") == [(True,)]


async def test_a_blocked_number_stays_blocked_and_an_opt_out_loses_its_number(runtime, patient):
    async with runtime.transaction("provider") as tx:
        digest = runtime.index.digest("phone", NUMBER)
        await consumers.preferences.within(tx, [Block(patient, SMS, "provider", "STOP")])
        await addresses.block(tx, SMS, digest)
        await permits.opt_out(tx, SMS, [patient], digest)
    await settle(runtime)
    await erase(runtime, patient)
    assert await settle(runtime) == 0
    assert await rows(runtime, "SELECT count(*) FROM optouts WHERE digest IS NOT NULL") == [(0,)]
    assert await rows(runtime, "SELECT blocked FROM address_blocks WHERE channel = 'sms'") == [(True,)]


async def test_two_in_one_batch_and_again(runtime, patient):
    other = await somebody(runtime)
    await erase(runtime, patient, other)
    await erase(runtime, other, patient)
    assert await rows(runtime, "SELECT * FROM people") == []
    assert await settle(runtime) == 0


async def test_replies_go_and_a_number_that_nobody_is_left_to_read_is_blocked(runtime, patient):
    for words in (DOUBT, "wrong number", "START"):
        await text(runtime, words)
    assert await rows(runtime, "SELECT count(*) FROM flagged WHERE patient_id IS NOT NULL") == [(3,)]
    await erase(runtime, patient)
    assert await rows(runtime, "SELECT * FROM flagged") == []
    assert await rows(runtime, "SELECT blocked, held FROM address_blocks WHERE channel = 'sms'") == [(True, 0)]
    later = await somebody(runtime)
    assert await ask(runtime, later) is Refusal.OPTED_OUT
    async with runtime.transaction("staff") as tx:
        await addresses.lift(tx, SMS, later)
    assert isinstance(await ask(runtime, later), Permit), "new consent opens it, as any blocked number"


async def test_a_reply_that_somebody_else_at_the_number_has_to_read_holds_it_until_then(runtime, patient):
    other = await somebody(runtime)
    await text(runtime, DOUBT)
    await erase(runtime, patient)
    assert await rows(runtime, "SELECT patient_id FROM flagged") == [(other,)]
    assert await rows(runtime, "SELECT blocked, held FROM address_blocks WHERE channel = 'sms'") == [(False, 1)]
    assert await ask(runtime, other) is Refusal.OPTED_OUT


async def test_both_at_a_number_in_one_batch_leave_it_blocked(runtime, patient):
    other = await somebody(runtime)
    await text(runtime, DOUBT)
    await erase(runtime, patient, other)
    assert await rows(runtime, "SELECT * FROM flagged") == []
    assert await rows(runtime, "SELECT blocked, held FROM address_blocks WHERE channel = 'sms'") == [(True, 0)]


async def test_what_was_written_before_anybody_had_the_number_goes_with_who_has_it(runtime):
    await text(runtime, DOUBT)
    patient = await somebody(runtime)
    await erase(runtime, patient)
    assert await rows(runtime, "SELECT * FROM flagged") == []
    assert await rows(runtime, "SELECT blocked, held FROM address_blocks WHERE channel = 'sms'") == [(True, 0)]


async def test_who_decides_a_reply_meanwhile_waits_and_finds_it_gone(runtime, patient):
    await text(runtime, DOUBT)
    ((reply,),) = await rows(runtime, "SELECT id FROM flagged")
    async with runtime.transaction("staff") as tx:
        assert (await flagged.take(tx, reply)).reply is Reply.DOUBT
        erasing = asyncio.create_task(erase(runtime, patient))
        await asyncio.sleep(0.2)
        assert not erasing.done()
    await erasing
    async with runtime.transaction("staff") as tx:
        assert await flagged.take(tx, reply) is None


async def test_a_stop_that_is_not_effective_yet_is_never_confirmed(runtime, patient):
    permit = await ask(runtime, patient)
    await text(runtime, "STOP")
    assert await rows(runtime, WAITING) == [(1,)]
    await erase(runtime, patient)
    await close(runtime, permit)
    assert await settle(runtime) == 0
    assert await emitted(runtime, OptOutConfirmationDue) == []
    assert await rows(runtime, WAITING) == [(0,)]


async def test_a_confirmation_that_waits_at_the_gate_gets_no_permit(runtime, patient):
    await text(runtime, "STOP")
    await settle(runtime)
    (due,) = await emitted(runtime, OptOutConfirmationDue)
    open_elsewhere = await somebody(runtime)
    await erase(runtime, patient)
    assert await ask(runtime, patient, Purpose.OPTOUT_CONFIRM, due.optout_id) is Refusal.NOT_CONFIRMABLE
    assert await ask(runtime, open_elsewhere, Purpose.OPTOUT_CONFIRM, due.optout_id) is Refusal.NOT_CONFIRMABLE
    assert await rows(runtime, WAITING) == [(0,)]


async def test_an_opt_out_that_settles_while_its_person_is_erased_has_an_order(runtime, patient):
    await text(runtime, "STOP")
    async with runtime.transaction("consent") as tx:
        await permits.settle(tx)
        erasing = asyncio.create_task(erase(runtime, patient))
        await asyncio.sleep(0.2)
        assert not erasing.done()
    await erasing
    assert await settle(runtime) == 0
    assert await rows(runtime, WAITING) == [(0,)]
