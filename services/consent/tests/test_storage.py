"""Permits against opt-outs on a real PostgreSQL: nothing goes out after an opt-out is effective."""

import asyncio
from dataclasses import replace
from itertools import combinations
from uuid import UUID

import pytest

from consent import consumers
from consent.domain.permits import Outcome, Purpose, Refusal
from consent.domain.preferences import Allow, Block
from consent.drain import effective_within
from consent.storage import addresses, permits
from consent.storage.permits import Permit, Request
from consent.storage.preferences import load
from phi_common.clock import new_id
from phi_common.events.consent import Channel, Permission
from phi_common.events.patients import ContactChanged, Phone, ProfileChanged, Use
from phi_common.testing import record

NUMBER = "+12025550101"
SMS = Channel.SMS


@pytest.fixture
async def patient(runtime):
    """Somebody who agreed to texts."""
    return await somebody(runtime)


async def somebody(runtime, number=NUMBER):
    patient = new_id()
    contact = ContactChanged(patient_id=patient, phones=(Phone(number=number, use=Use.MOBILE),))
    await consumers.contacts.handle(runtime, [record(contact)])
    await consumers.preferences.act(runtime, [Allow(patient, SMS, "staff", wording="sms-1")], "staff")
    return patient


def digest(runtime, number=NUMBER):
    return runtime.index.digest("phone", number)


def request(runtime, *patients: UUID, number=NUMBER):
    return Request(new_id(), patients, SMS, digest(runtime, number), Purpose.CARE_GAP)


async def ask(runtime, wanted):
    async with runtime.transaction("gate") as tx:
        return await permits.grant(tx, wanted)


async def close(runtime, permit, outcome=Outcome.SENT):
    async with runtime.transaction("gate") as tx:
        return await permits.close(tx, permit.id, outcome)


async def opt_out(tx, patients=(), number_digest=None):
    """What the routes do for a STOP, step by step."""
    if patients:
        await consumers.preferences.within(tx, [Block(patient, SMS, "patient", "STOP") for patient in patients])
    if number_digest:
        await addresses.block(tx, SMS, number_digest)
    return await permits.opt_out(tx, SMS, patients, number_digest)


async def stop(runtime, patients=(), number_digest=None):
    async with runtime.transaction("provider") as tx:
        return await opt_out(tx, patients, number_digest)


async def is_effective(runtime, optout_id):
    async with runtime.transaction("consent") as tx:
        await permits.settle(tx)
        return await permits.is_effective(tx, optout_id)


async def test_what_is_saved_is_loaded(runtime, patient):
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        state = (await load(tx, [patient]))[patient]
    rule = state.rules[SMS]
    assert (state.version, state.permission(SMS)) == (1, Permission.ALLOWED)
    assert (rule.evidence.by, rule.evidence.wording, rule.evidence.at) == ("staff", "sms-1", runtime.now())


async def test_evidence_is_sealed_and_addresses_are_digests(runtime, patient):
    async with runtime.transaction("test") as tx:
        rows = await (
            await tx.execute("SELECT evidence FROM consents UNION ALL SELECT digest FROM addresses")
        ).fetchall()
    assert len(rows) == 2
    assert not any(b"sms-1" in value or NUMBER.encode() in value for (value,) in rows)


async def test_a_permit_for_who_agreed(runtime, patient):
    assert isinstance(await ask(runtime, request(runtime, patient)), Permit)


async def test_nobody_on_record_has_not_agreed(runtime):
    assert await ask(runtime, request(runtime, new_id())) is Refusal.NO_CONSENT


async def test_the_strictest_of_all_ids_known_wins(runtime, patient):
    other = await somebody(runtime, "+12025550102")
    assert isinstance(await ask(runtime, request(runtime, patient, other)), Permit)
    await stop(runtime, [other])
    assert await ask(runtime, request(runtime, patient, other)) is Refusal.OPTED_OUT


async def test_death_refuses(runtime, patient):
    await consumers.preferences.handle(runtime, [record(ProfileChanged(patient_id=patient, deceased=True))])
    assert await ask(runtime, request(runtime, patient)) is Refusal.DECEASED


async def test_a_text_without_a_number_is_refused(runtime, patient):
    assert await ask(runtime, replace(request(runtime, patient), digest=None)) is Refusal.NO_ADDRESS


async def test_one_permit_per_message_unless_it_provably_was_not_sent(runtime, patient):
    wanted = request(runtime, patient)
    first = await ask(runtime, wanted)
    assert await ask(runtime, wanted) is Refusal.ALREADY_GRANTED
    assert await close(runtime, first, Outcome.UNKNOWN)
    assert await ask(runtime, wanted) is Refusal.ALREADY_GRANTED
    assert await close(runtime, first, Outcome.NOT_SENT)
    assert isinstance(await ask(runtime, wanted), Permit)


async def test_an_outcome_stays(runtime, patient):
    permit = await ask(runtime, request(runtime, patient))
    assert await close(runtime, permit, Outcome.SENT)
    assert await close(runtime, permit, Outcome.SENT)
    assert not await close(runtime, permit, Outcome.NOT_SENT)
    assert not await close(runtime, Permit(new_id()))


async def test_a_stop_from_a_number_nobody_has_blocks_the_number(runtime):
    await stop(runtime, (), digest(runtime, "+12025550199"))
    later = await somebody(runtime, "+12025550199")
    assert await ask(runtime, request(runtime, later, number="+12025550199")) is Refusal.OPTED_OUT


async def test_new_consent_opens_the_own_number_again(runtime, patient):
    await stop(runtime, [patient], digest(runtime))
    async with runtime.transaction("staff") as tx:
        await consumers.preferences.within(tx, [Allow(patient, SMS, "staff", wording="sms-2")])
        await addresses.lift(tx, SMS, patient)
    assert isinstance(await ask(runtime, request(runtime, patient)), Permit)


@pytest.mark.parametrize("outcome", [Outcome.SENT, Outcome.NOT_SENT])
async def test_an_opt_out_waits_for_the_permit_before_it(runtime, patient, outcome):
    permit = await ask(runtime, request(runtime, patient))
    optout = await stop(runtime, [patient], digest(runtime))
    assert not await is_effective(runtime, optout)
    await close(runtime, permit, outcome)
    assert await is_effective(runtime, optout)


@pytest.mark.parametrize("outcome", [None, Outcome.UNKNOWN])
async def test_a_permit_that_may_still_be_in_use_is_waited_out(runtime, patient, monkeypatch, outcome):
    monkeypatch.setattr(permits, "TTL_MS", 300)
    monkeypatch.setattr(permits, "MARGIN_MS", 300)
    permit = await ask(runtime, request(runtime, patient))
    if outcome:
        await close(runtime, permit, outcome)
    optout = await stop(runtime, [patient], digest(runtime))
    await asyncio.sleep(0.35)
    assert not await is_effective(runtime, optout), "expired, but a call may still be under way"
    await asyncio.sleep(0.35)
    assert await is_effective(runtime, optout)


async def test_permits_of_others_hold_nothing_up(runtime, patient):
    other = await somebody(runtime, "+12025550102")
    await ask(runtime, request(runtime, other, number="+12025550102"))
    assert await is_effective(runtime, await stop(runtime, [patient], digest(runtime)))


KNOWN, UNKNOWN = NUMBER, "+12025550155"
"""For an unknown number there is no row to lock until somebody makes it."""


def stopped_by(runtime, patient, by):
    return ([patient], None) if by == "person" else ((), digest(runtime, by))


@pytest.mark.parametrize("by", ["person", KNOWN, UNKNOWN])
async def test_grant_first_then_the_opt_out_waits_for_its_commit(runtime, patient, by):
    number = NUMBER if by == "person" else by
    async with runtime.transaction("gate") as tx:
        permit = await permits.grant(tx, request(runtime, patient, number=number))
        stopping = asyncio.create_task(stop(runtime, *stopped_by(runtime, patient, by)))
        await asyncio.sleep(0.2)
        assert not stopping.done()
    optout = await stopping
    assert not await is_effective(runtime, optout)
    await close(runtime, permit)
    assert await is_effective(runtime, optout)


@pytest.mark.parametrize("by", ["person", KNOWN, UNKNOWN])
async def test_opt_out_first_then_the_grant_waits_and_is_refused(runtime, patient, by):
    number = NUMBER if by == "person" else by
    async with runtime.transaction("provider") as tx:
        await opt_out(tx, *stopped_by(runtime, patient, by))
        asking = asyncio.create_task(ask(runtime, request(runtime, patient, number=number)))
        await asyncio.sleep(0.2)
        assert not asking.done()
    assert await asking is Refusal.OPTED_OUT


async def sender(turn, runtime, patient, number, log):
    await turn()
    async with runtime.transaction("gate") as tx:
        permit = await permits.grant(tx, request(runtime, patient, number=number))
        await turn()
    if isinstance(permit, Permit):
        await turn()
        log.append("send")
        await turn()
        await close(runtime, permit)


async def stopper(turn, runtime, patient, number, log, drain):
    await turn()
    async with runtime.transaction("provider") as tx:
        optout = await opt_out(tx, [patient], digest(runtime, number))
        await turn()
    await turn()
    if drain:
        assert await effective_within(runtime, optout, 3)
    log.append("ack")


async def interleaved(runtime, order, *, drain):
    """Let both go step by step in this order; one that waits for a lock takes its turn when it can."""
    number = f"+1202555{order[0]}{order[1]}{order[2]}0"
    patient, log = await somebody(runtime, number), []
    turns = [asyncio.Queue(), asyncio.Queue()]
    both = asyncio.gather(
        sender(turns[0].get, runtime, patient, number, log),
        stopper(turns[1].get, runtime, patient, number, log, drain),
    )
    for step in range(7):
        turns[step in order].put_nowait(None)
        await asyncio.sleep(0.01)
    await asyncio.wait_for(both, 3)
    return log


ORDERS = list(combinations(range(7), 3))
"""At which of seven steps the opt-out blocks, commits, acknowledges; the other four are the send's."""


async def test_no_order_of_steps_sends_after_the_acknowledgement(runtime):
    logs = [await interleaved(runtime, order, drain=True) for order in ORDERS]
    assert all(log in (["send", "ack"], ["ack"]) for log in logs)
    assert ["send", "ack"] in logs
    assert ["ack"] in logs


async def test_this_search_finds_an_acknowledgement_that_does_not_wait(runtime):
    logs = [await interleaved(runtime, order, drain=False) for order in ORDERS]
    assert ["ack", "send"] in logs
