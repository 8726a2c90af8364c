"""Charts come back as they were saved, and tables agree with the migrations."""

from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from care_gap_engine import storage
from care_gap_engine.domain.chart import Chart
from care_gap_engine.packs import PROTOCOLS
from phi_common.decision import TimePassed
from phi_common.events.clinical import ConditionRecorded
from phi_common.events.patients import ProfileChanged
from phi_common.runtime import Runtime


async def test_a_chart_comes_back_as_saved(runtime: Runtime) -> None:
    patient = uuid4()
    diagnosis = ConditionRecorded(
        patient_id=patient, source="ehr", source_id="dx", source_message=uuid4(),
        system="http://hl7.org/fhir/sid/icd-10-cm", code="E11.9", status="active", onset="2019",
    )  # fmt: skip
    async with runtime.transaction("test") as tx:
        await tx.lock([patient])
        chart = (await storage.load_charts(tx, [patient]))[patient]
        assert chart == Chart(patient)
        chart = PROTOCOLS.change_profile(
            chart, ProfileChanged(patient_id=patient, zone="America/Chicago"), tx.now
        ).state
        chart = PROTOCOLS.diagnose(chart, diagnosis, tx.now).state
        chart = PROTOCOLS.pass_time(chart, TimePassed(patient), tx.now).state
        await storage.save_charts(tx, {patient: chart})
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        loaded = (await storage.load_charts(tx, [patient]))[patient]
    assert (loaded.profile, loaded.facts, loaded.gaps) == (chart.profile, chart.facts, chart.gaps)
    assert (loaded.news, loaded.episodes) == ((), ())


async def test_the_history_of_facts_only_grows(runtime: Runtime) -> None:
    for statement in ("DELETE FROM facts", "UPDATE facts SET recorded = now()"):
        with pytest.raises(Exception, match="permission denied"):
            async with runtime.transaction("test") as tx:
                await tx.execute(statement)


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
async def test_migrations_and_tables_agree(runtime: Runtime) -> None:
    async with runtime.transaction("test") as tx:
        core = await tx.core()
        found = await core.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), storage.metadata))
    assert found == []
