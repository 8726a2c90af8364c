"""What a person sees of the record, and who may."""

from uuid import uuid4

import pytest

from patient_profile.consumers import reports
from phi_common.events.patients import PatientReported, Phone
from phi_common.runtime import Runtime
from phi_common.testing import client, record


async def test_the_record_is_shown(runtime: Runtime) -> None:
    patient = uuid4()
    said = PatientReported(
        patient_id=patient, source="ehr", family="Rivera", birth_date="1961-04",
        phones=(Phone(number="2125550123", use="mobile"), Phone(number="123", use="home")),
    )  # fmt: skip
    await reports.handle(runtime, [record(said)])
    async with client("patient-profile", runtime) as http:
        answer = await http.get(f"/patients/{patient}", headers={"Authorization": f"Bearer patient:{patient}"})
    assert answer.status_code == 200
    assert answer.json() == {
        "patient_id": str(patient), "family": "Rivera", "given": None, "birth_date": "1961-04",
        "sex": "unknown", "deceased": False, "phones": [{"number": "+12125550123", "use": "mobile"}],
        "invalid_phones": 1, "emails": [], "language": "en", "postal_code": None, "facility": None,
        "zone": "America/New_York",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("token", "status"), [("front-desk", 404), ("admin", 403), (f"patient:{uuid4()}", 403), ("nobody", 401)]
)
async def test_who_may_not_see(runtime: Runtime, token: str, status: int) -> None:
    async with client("patient-profile", runtime) as http:
        answer = await http.get(f"/patients/{uuid4()}", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == status
