"""Who a patient is, as far as the reports tell."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from patient_profile import storage
from patient_profile.domain import Number
from phi_common.auth import Principal, requires
from phi_common.events.patients import Sex

PROFILE_READ = "profile:read"

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


@router.get("/patients/{patient_id}")
async def profile_of(
    patient_id: UUID, request: Request, principal: Annotated[Principal, Depends(requires(PROFILE_READ))]
) -> ProfileView:
    """The golden record of one person."""
    async with request.app.state.runtime.reading(principal, PROFILE_READ, [patient_id]) as tx:
        record = (await storage.load_profiles(tx, [patient_id]))[patient_id]
    return ProfileView.model_validate(record, from_attributes=True)
