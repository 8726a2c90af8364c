"""The portal inbox, the coordinators' list, and what carriers report."""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ValidationError

from outreach import storage
from phi_common.auth import Principal, requires
from phi_common.clock import EPOCH, system_now
from phi_common.problem import Problem
from phi_common.runtime import Runtime

INBOX_READ = "inbox:read"
OUTREACH_READ = "outreach:read"
FRESH_SECONDS = 300
LONGEST_REPORT = 64 * 1024
LISTED = 500

router = APIRouter()
SIGNING: WeakKeyDictionary[Runtime, bytes] = WeakKeyDictionary()


class PortalMessage(BaseModel):
    """One message in a patient's inbox."""

    id: UUID
    text: str
    at: datetime
    read_at: datetime | None


class Review(BaseModel):
    """A gap that automated outreach gave over to a person."""

    patient_id: UUID
    gap_id: UUID
    reason: str
    opened_at: datetime


class StatusReport(BaseModel):
    """What a carrier says of one message; `tag` is our message id."""

    tag: UUID
    status: Literal["queued", "sent", "delivered", "undelivered", "failed"]


@router.get("/patients/{patient_id}/inbox")
async def read_inbox(
    patient_id: UUID, request: Request, principal: Annotated[Principal, Depends(requires(INBOX_READ))]
) -> list[PortalMessage]:
    """A patient's portal messages, newest first."""
    async with request.app.state.runtime.reading(principal, INBOX_READ, [patient_id]) as tx:
        return [PortalMessage(**message) for message in await storage.inbox(tx, patient_id)]


@router.get("/reviews")
async def read_reviews(
    request: Request, principal: Annotated[Principal, Depends(requires(OUTREACH_READ))]
) -> list[Review]:
    """Open coordinator reviews, oldest first; ids only."""
    async with request.app.state.runtime.reading(principal, OUTREACH_READ, []) as tx:
        found = [Review(**review) for review in await storage.open_reviews(tx, LISTED)]
        for patient_id in {review.patient_id for review in found}:
            tx.audit(OUTREACH_READ, patient_id)
        return found


async def signed(
    request: Request, x_timestamp: Annotated[str, Header()], x_signature: Annotated[str, Header()]
) -> bytes:
    """The body of a webhook whose signature is right and fresh; else 401 without a reason."""
    body = await request.body()
    secret = SIGNING[request.app.state.runtime]
    wanted = hmac.new(secret, x_timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    genuine = hmac.compare_digest(wanted.encode(), x_signature.encode())
    if not genuine or not _fresh(x_timestamp) or len(body) > LONGEST_REPORT:
        raise Problem(401, "Not signed by the carrier")
    return body


def _fresh(timestamp: str) -> bool:
    age = (system_now() - EPOCH).total_seconds() - int(timestamp) if timestamp.isdecimal() else FRESH_SECONDS
    return abs(age) < FRESH_SECONDS


@router.post("/webhooks/sms/status", status_code=204, response_class=Response)
async def sms_status(request: Request, body: Annotated[bytes, Depends(signed)]) -> None:
    """Note what became of a text for the conversation to hear. Told twice, it counts once."""
    report = _report(body)
    status = {"delivered": "delivered", "undelivered": "undelivered", "failed": "undelivered"}.get(report.status)
    if status is None:
        return
    async with request.app.state.runtime.transaction("carrier") as tx:
        if patient_id := await storage.report(tx, report.tag, status):
            tx.audit("carrier:" + status, patient_id, str(report.tag))


def _report(body: bytes) -> StatusReport:
    try:
        return StatusReport.model_validate_json(body)
    except ValidationError:
        raise Problem(422, "Not a status report") from None
