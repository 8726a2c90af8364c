"""Preferences for patients and staff, permits for the egress gate, and replies by text from the provider."""

import hmac
import time
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from consent import consumers, replies
from consent.domain.permits import Outcome, Purpose, Refusal
from consent.domain.preferences import ADDRESSED, Allow, Block, Preferences
from consent.drain import EFFECTIVE_SECONDS, effective_within
from consent.storage import addresses, permits
from consent.storage.preferences import load
from phi_common.auth import Principal, requires
from phi_common.decision import Refused
from phi_common.events.consent import Channel
from phi_common.problem import Problem
from phi_common.runtime import Runtime
from phi_common.telemetry import new_traceparent, span
from phi_common.transaction import Erased, Tx

CONSENT_READ = "consent:read"
CONSENT_WRITE = "consent:write"
PERMITS_GRANT = "permits:grant"

SIGNATURE_SECONDS = 300

router = APIRouter(routes=replies.router.routes)


class Change(BaseModel):
    """What a person says about one channel, and how we know."""

    model_config = ConfigDict(extra="forbid")

    permission: Literal["allowed", "blocked"]
    preferred: bool = False
    wording: str = Field("", max_length=200)
    """Id of the text that was agreed to."""
    evidence: str = Field("", max_length=2000)
    """Where the agreement is kept, or the reason of a block."""
    obtained_at: AwareDatetime | None = None
    """When the person agreed, if it was not just now."""


class PermitRequest(BaseModel):
    """One message, to one person under all ids known for them."""

    message_id: UUID
    patient_ids: Annotated[list[UUID], Field(min_length=1, max_length=50)]
    channel: Channel
    address: Annotated[str | None, Field(max_length=320)] = None
    purpose: Purpose
    optout_id: UUID | None = None
    """The opt-out that the message confirms; with that purpose only."""

    @model_validator(mode="after")
    def _names_an_optout_to_confirm_one(self) -> Self:
        if (self.purpose is Purpose.OPTOUT_CONFIRM) != (self.optout_id is not None):
            raise ValueError("an opt-out is named to confirm it, and only then")
        return self


class Closing(BaseModel):
    """What became of a permit."""

    outcome: Outcome


@router.put("/patients/{patient_id}/preferences/{channel}")
async def change_preference(
    patient_id: UUID,
    channel: Channel,
    change: Change,
    request: Request,
    principal: Annotated[Principal, Depends(requires(CONSENT_WRITE))],
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> JSONResponse:
    """Open or close a channel. A block answers 200 once effective, 202 while a message may be on its way."""
    principal.require_patient(patient_id)
    if channel is Channel.OTHER:
        raise Problem(422, "Unknown channel")
    runtime: Runtime = request.app.state.runtime

    async def work(tx: Tx) -> tuple[int, dict[str, Any]]:
        tx.traceparent = new_traceparent(request.headers.get("traceparent"))
        by = principal.subject
        if change.permission == "blocked":
            await consumers.preferences.within(tx, [Block(patient_id, channel, by, change.evidence or change.wording)])
            return 202, {"state": "pending", "optout": str(await permits.opt_out(tx, channel, [patient_id]))}
        agreed = Allow(patient_id, channel, by, change.wording, change.evidence, change.obtained_at, change.preferred)
        await consumers.preferences.within(tx, [agreed])
        await addresses.lift(tx, channel, patient_id)
        return 200, {"state": "effective"}

    what = request.url.path.encode() + b"\n" + await request.body()
    try:
        status, answer = await runtime.idempotent(principal, idempotency_key, what, work)
    except Refused as refused:
        raise Problem(422, "Refused", refused.reason) from None
    except Erased:
        raise Problem(404, "Unknown patient") from None
    if status == 202 and await effective_within(runtime, UUID(answer["optout"]), EFFECTIVE_SECONDS):
        status, answer = 200, answer | {"state": "effective"}
    return JSONResponse(answer, status)


@router.get("/patients/{patient_id}/preferences")
async def read_preferences(
    patient_id: UUID, request: Request, principal: Annotated[Principal, Depends(requires(CONSENT_READ))]
) -> dict[str, Any]:
    """What a person allows and forbids, and on what evidence."""
    async with request.app.state.runtime.reading(principal, CONSENT_READ, [patient_id]) as tx:
        state = (await load(tx, [patient_id]))[patient_id]
    return _shown(state)


@router.post("/permits", status_code=201)
async def grant_permit(
    asked: PermitRequest, request: Request, principal: Annotated[Principal, Depends(requires(PERMITS_GRANT))]
) -> dict[str, Any]:
    """Leave to send one message now, or 403 with the reason. The caller's stopwatch starts before it asks.

    409 names the permit that the message has: a caller whose answer was lost can close it as not sent and ask again.
    """
    runtime: Runtime = request.app.state.runtime
    kind = ADDRESSED.get(asked.channel)
    address = addresses.normal(kind, asked.address) if kind and asked.address else None
    digest = runtime.index.digest(kind, address) if kind and address else None
    people = tuple(asked.patient_ids)
    wanted = permits.Request(asked.message_id, people, asked.channel, digest, asked.purpose, asked.optout_id)
    trace = new_traceparent(request.headers.get("traceparent"))
    with span("grant", trace, message_id=asked.message_id):
        async with runtime.transaction(principal.subject, trace) as tx:
            answer = await permits.grant(tx, wanted)
            held = await permits.holder(tx, asked.message_id) if answer is Refusal.ALREADY_GRANTED else None
    if isinstance(answer, Refusal):
        status = 409 if answer is Refusal.ALREADY_GRANTED else 403
        raise Problem(status, "No permit", answer.value, reason=answer.value, permit_id=held and str(held))
    return {"id": str(answer.id), "expires_in_ms": permits.TTL_MS}


@router.post("/permits/{permit_id}/close")
async def close_permit(
    permit_id: UUID,
    closing: Closing,
    request: Request,
    principal: Annotated[Principal, Depends(requires(PERMITS_GRANT))],
) -> dict[str, str]:
    """Report what became of a permit, so that an opt-out need not wait for its time to run out."""
    async with request.app.state.runtime.transaction(principal.subject) as tx:
        if not await permits.close(tx, permit_id, closing.outcome):
            raise Problem(409, "Unknown permit, or another outcome is on record")
    return {"state": "closed"}


@router.post("/webhooks/sms/inbound")
async def receive_text(request: Request) -> dict[str, str]:
    """Take a reply by text. Signed by the provider; the answer never tells whether we know the number."""
    body = await request.body()
    await _verify(request, body)
    try:
        inbound = replies.Inbound.model_validate_json(body)
    except ValidationError:
        raise Problem(422, "Request is not valid") from None
    await replies.take(request.app.state.runtime, inbound)
    return {"state": "received"}


async def _verify(request: Request, body: bytes) -> None:
    """401 unless the provider signed this body within the last minutes of real time."""
    state = request.app.state
    if not hasattr(state, "webhook_secret"):
        state.webhook_secret = (await state.runtime.vault.secret("webhook/sms"))["secret"].encode()
    stamp, given = (request.headers.get(name, "") for name in ("x-timestamp", "x-signature"))
    fresh = stamp.isascii() and stamp.isdecimal() and abs(time.time() - int(stamp)) <= SIGNATURE_SECONDS
    wanted = hmac.new(state.webhook_secret, stamp.encode() + b"." + body, "sha256").hexdigest()
    if not fresh or not hmac.compare_digest(wanted.encode(), given.encode()):
        raise Problem(401, "Signature is not valid")


def _shown(state: Preferences) -> dict[str, Any]:
    return {
        "version": state.version,
        "deceased": state.deceased,
        "preferred": state.preferred and state.preferred.value,
        "unread_replies": len(state.holds),
        "channels": {
            channel.value: {
                "permission": (state.permission(channel) or rule.permission).value,
                "version": rule.version,
                "since": rule.since.isoformat(),
                "by": rule.evidence.by,
                "obtained_at": rule.evidence.at.isoformat(),
                "wording": rule.evidence.wording,
                "evidence": rule.evidence.reference,
            }
            for channel, rule in state.rules.items()
        },
    }
