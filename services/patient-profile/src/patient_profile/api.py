"""Who a patient is, as far as the reports tell; and the one place that erases a patient everywhere."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, ConfigDict

from patient_profile import storage
from patient_profile.domain import Number
from phi_common.auth import Principal, requires
from phi_common.eventing import erasure
from phi_common.events.patients import Basis, PatientErased, Sex
from phi_common.problem import Problem
from phi_common.runtime import Runtime
from phi_common.telemetry import new_traceparent
from phi_common.transaction import Tx

PROFILE_READ = "profile:read"
PATIENTS_ERASE = "patients:erase"

router = APIRouter()


class ProfileView(BaseModel):
    """The golden record; `birth_date` as recorded, `invalid_phones` counts numbers that nobody can call."""

    patient_id: UUID
    family: str | None
    given: str | None
    birth_date: str | None
    sex: Sex
    deceased: bool
    phones: list[Number]
    invalid_phones: int
    emails: list[str]
    language: str
    postal_code: str | None
    facility: str | None
    zone: str


class Erasure(BaseModel):
    """On what ground; a code, since the record of an erasure must not tell of the person."""

    model_config = ConfigDict(extra="forbid")

    basis: Basis


@router.get("/patients/{patient_id}")
async def profile_of(
    patient_id: UUID, request: Request, principal: Annotated[Principal, Depends(requires(PROFILE_READ))]
) -> ProfileView:
    """The golden record of one person."""
    async with request.app.state.runtime.reading(principal, PROFILE_READ, [patient_id]) as tx:
        record = (await storage.load_profiles(tx, [patient_id]))[patient_id]
    return ProfileView.model_validate(record, from_attributes=True)


@router.post("/patients/{patient_id}/erasure", status_code=202)
async def erase(
    patient_id: UUID,
    asked: Erasure,
    request: Request,
    principal: Annotated[Principal, Depends(requires(PATIENTS_ERASE))],
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> dict[str, Any]:
    """Erase a patient: here before the answer, in every other service by the event that commits with it.

    There is no way back. Asked again with another key, the event goes out again: a database that was restored from a
    backup forgets anew.
    """
    principal.require_patient(patient_id)
    runtime: Runtime = request.app.state.runtime

    async def work(tx: Tx) -> tuple[int, dict[str, Any]]:
        if not await storage.is_known(tx, patient_id):
            raise Problem(404, "Unknown patient")
        tx.traceparent = new_traceparent(request.headers.get("traceparent"))
        await erasure.erase(tx, [patient_id], storage.erase)
        tx.emit(PatientErased(patient_id=patient_id, basis=asked.basis))
        tx.audit(PATIENTS_ERASE, patient_id, asked.basis.value)
        return 202, {"patient_id": str(patient_id), "state": "erased"}

    what = request.url.path.encode() + b"\n" + await request.body()
    _, answer = await runtime.idempotent(principal, idempotency_key, what, work)
    return answer  # type: ignore[no-any-return]
