"""An erased patient: no permit, no address, and still no text after an opt-out that was called effective."""

import pytest

from consent import consumers
from consent.domain.permits import Outcome, Refusal
from consent.domain.preferences import Allow, Block
from consent.storage import addresses, permits
from consent.storage.permits import Permit, Request
from phi_common.clock import new_id
from phi_common.db import Erased
from phi_common.events.consent import Channel
from phi_common.events.patients import ContactChanged, PatientErased, Phone, ProfileChanged, Use
from phi_common.testing import emitted, record

SMS = Channel.SMS
NUMBER = "+12025550101"


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


async def ask(runtime, patient):
    async with runtime.transaction("gate") as tx:
        return await permits.grant(
            tx, Request(new_id(), (patient,), SMS, runtime.index.digest("phone", NUMBER), "care")
        )


async def close(runtime, permit):
    async with runtime.transaction("gate") as tx:
        await permits.close(tx, permit.id, Outcome.SENT)


async def settle(runtime):
    async with runtime.transaction("consent") as tx:
        await permits.settle(tx)
        return await permits.pending(tx)


async def rows(runtime, query):
    async with runtime.transaction("test") as tx:
        return await (await tx.pg.execute(query)).fetchall()


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
