"""The subscription called as a function with a list of records, on a real database."""

from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from patient_profile import storage
from patient_profile.consumers import reports
from phi_common.events.patients import ContactChanged, PatientReported, Phone, ProfileChanged
from phi_common.runtime import Runtime
from phi_common.testing import emitted, record


async def test_reports_become_one_record_and_a_repeat_changes_nothing(runtime: Runtime) -> None:
    patient = uuid4()
    batch = [
        record(
            PatientReported(patient_id=patient, source="ehr", family="Rivera", phones=(Phone(number="2125550123"),))
        ),
        record(PatientReported(patient_id=patient, source="ehr", given="Ana", deceased=True)),
    ]
    await reports.handle(runtime, batch)
    await reports.handle(runtime, batch)
    told = await emitted(runtime)
    assert [type(one) for one in told] == [ProfileChanged, ContactChanged, ProfileChanged, ContactChanged]
    assert (told[2].deceased, told[3].family, told[3].given) == (True, "Rivera", "Ana")
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        kept = (await storage.load_profiles(tx, [patient]))[patient]
        ((sealed,),) = await tx.rows("SELECT sealed FROM profiles")
    assert (kept.family, kept.given, kept.phones[0].number) == ("Rivera", "Ana", "+12125550123")
    assert b"Rivera" not in sealed


async def test_a_death_counts_even_behind_a_dead_letter(runtime: Runtime) -> None:
    patient = uuid4()
    await reports.handle(runtime, [record(PatientReported(patient_id=patient, source="ehr"), body=b"{}")])
    await reports.handle(runtime, [record(PatientReported(patient_id=patient, source="ehr", family="Parked"))])
    assert await emitted(runtime) == []
    await reports.handle(runtime, [record(PatientReported(patient_id=patient, source="ehr", deceased=True))])
    assert [one.deceased for one in await emitted(runtime, ProfileChanged)] == [True]


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
async def test_migrations_and_tables_agree(runtime: Runtime) -> None:
    async with runtime.transaction("test") as tx:
        core = await tx.core()
        found = await core.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), storage.metadata))
    assert found == []
