"""What a person sees: states with their reasons, audited, and only what they may see."""

from uuid import uuid4

import pytest

from care_gap_engine.api import language_of
from care_gap_engine.consumers import facts
from phi_common.events.clinical import ConditionRecorded, ObservationReceived
from phi_common.runtime import Runtime
from phi_common.testing import client, record

COORDINATOR = {"Authorization": "Bearer care-coordinator"}


async def test_gaps_are_explained_in_the_asked_language(runtime: Runtime) -> None:
    patient, message = uuid4(), uuid4()
    about = {"patient_id": patient, "source": "ehr", "source_message": message}
    await facts.handle(
        runtime,
        [
            record(ConditionRecorded(
                **about, source_id="dx", system="http://hl7.org/fhir/sid/icd-10-cm", code="E11.9",
                status="active",
            )),
            record(ObservationReceived(
                **about, source_id="obs", system="http://loinc.org", code="4548-4", status="final",
                effective="2025-01-26", value="7.1", unit="%",
            )),
        ],
    )  # fmt: skip
    async with client("care-gap-engine", runtime) as http:
        answer = await http.get(f"/patients/{patient}/gaps", headers=COORDINATOR)
        spanish = await http.get(
            f"/patients/{patient}/gaps", headers=COORDINATOR | {"Accept-Language": "es-MX,en;q=0.5"}
        )
    assert answer.status_code == 200
    (gap,) = answer.json()["gaps"]
    why = gap["explanation"]
    assert (gap["rule"], gap["state"], gap["due"], gap["since"]) == (
        "hba1c-diabetes", "overdue", "2025-07-26", "2026-03-02",
    )  # fmt: skip
    assert (why["version"], why["interval_months"], why["next_change"]) == ("1", 6, None)
    assert {one["code"]: one["source_message"] for one in why["evidence"]} == {
        "E11.9": str(message),
        "4548-4": str(message),
    }
    assert "correspondía" in spanish.json()["gaps"][0]["explanation"]["reason"]
    async with runtime.transaction("test") as tx:
        read = await (await tx.execute("SELECT count(*) FROM audit WHERE action = 'gaps:read'")).fetchone()
    assert read == (2,)


@pytest.mark.parametrize(
    ("token", "status"),
    [("care-coordinator", 404), ("front-desk", 403), (f"patient:{uuid4()}", 403), ("nobody", 401)],
)
async def test_who_may_not_see(runtime: Runtime, token: str, status: int) -> None:
    async with client("care-gap-engine", runtime) as http:
        answer = await http.get(f"/patients/{uuid4()}/gaps", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("en", "en"), ("es", "es"), ("es-MX,es;q=0.9", "es"), ("fr,es;q=0.4,en;q=0.8", "en"),
     ("fr", "en"), ("es;q=x", "en"), ("es;q=0", "en"), ("", "en")],
)  # fmt: skip
def test_language(header: str, expected: str) -> None:
    assert language_of(header) == expected
