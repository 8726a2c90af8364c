"""What consent makes of events, told to the others through its outbox."""

from consent import consumers
from consent.domain.preferences import Allow, Block
from phi_common.clock import new_id
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.patients import ProfileChanged
from phi_common.testing import emitted, record


async def test_changes_are_published_with_rising_versions(runtime):
    patient = new_id()
    await consumers.preferences.act(runtime, [Allow(patient, Channel.SMS, "staff", wording="sms-1")], "staff")
    await consumers.preferences.act(runtime, [Block(patient, Channel.SMS, "patient")], "patient")
    told = await emitted(runtime, PreferenceChanged)
    assert [(e.permission, e.version) for e in told] == [(Permission.ALLOWED, 1), (Permission.BLOCKED, 2)]


async def test_a_death_closes_what_was_open_once(runtime):
    patient = new_id()
    await consumers.preferences.act(runtime, [Allow(patient, Channel.EMAIL, "staff", wording="mail-1")], "staff")
    died = record(ProfileChanged(patient_id=patient, deceased=True))
    await consumers.preferences.handle(runtime, [died, died])
    assert [e.permission for e in await emitted(runtime, PreferenceChanged)] == [
        Permission.ALLOWED,
        Permission.BLOCKED,
    ]


async def test_a_death_takes_effect_behind_a_dead_letter(runtime):
    patient = new_id()
    await consumers.preferences.act(runtime, [Allow(patient, Channel.SMS, "staff", wording="sms-1")], "staff")
    broken = record(ProfileChanged(patient_id=patient), body=b"{}")
    await consumers.preferences.handle(runtime, [broken, record(ProfileChanged(patient_id=patient, deceased=True))])
    assert (await emitted(runtime, PreferenceChanged))[-1].permission is Permission.BLOCKED
