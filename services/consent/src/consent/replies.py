"""What people answer by text: taken durably before the provider is answered, read by staff where it is not clear."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from consent import consumers
from consent.domain.preferences import Block, Hold, Preferences, Release
from consent.domain.replies import Reading, Reply, read_reply
from consent.drain import EFFECTIVE_SECONDS, effective_within
from consent.settings import Settings
from consent.storage import addresses, flagged, permits
from phi_common.auth import Principal, requires
from phi_common.decision import Command
from phi_common.events.consent import Channel
from phi_common.problem import Problem
from phi_common.runtime import Runtime
from phi_common.telemetry import new_traceparent
from phi_common.transaction import Tx

REPLIES_READ = "replies:read"
REPLIES_RESOLVE = "replies:resolve"
PROVIDER = "provider:sms"
LISTED = 500

router = APIRouter()


class Inbound(BaseModel):
    """A text that the provider received for us."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    sender: Annotated[str, Field(alias="from", min_length=1, max_length=40)]
    text: Annotated[str, Field(max_length=4000)] = ""
    received_at: AwareDatetime | None = None
    """When the provider got it, in real time: a webhook may come late, and a confirmation may not."""


class Waiting(BaseModel):
    """A reply that a person has to read. Without a patient it came from a number that nobody has."""

    id: UUID
    patient_id: UUID | None
    channel: Channel
    reply: Reply
    text: str | None
    received_at: datetime
    decide_by: date
    overdue: bool


class Decided(BaseModel):
    """What a person says that a reply means."""

    model_config = ConfigDict(extra="forbid")

    decision: Reading


@router.get("/replies")
async def list_replies(
    request: Request, principal: Annotated[Principal, Depends(requires(REPLIES_READ))]
) -> list[Waiting]:
    """The work list of replies that nobody has decided yet, oldest first."""
    async with request.app.state.runtime.reading(principal, REPLIES_READ, []) as tx:
        found = await flagged.waiting(tx, LISTED)
        for patient_id in {reply.patient_id for reply in found}:
            tx.audit(REPLIES_READ, patient_id)
        today = tx.now.date()
        return [Waiting(**vars(reply), overdue=reply.decide_by < today) for reply in found]


@router.post("/replies/{reply_id}/resolve")
async def resolve_reply(
    reply_id: UUID,
    decided: Decided,
    request: Request,
    principal: Annotated[Principal, Depends(requires(REPLIES_RESOLVE))],
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> JSONResponse:
    """Decide what a reply means. An opt-out is answered as a block is; without one, what was on record holds again."""
    runtime: Runtime = request.app.state.runtime

    async def work(tx: Tx) -> tuple[int, dict[str, Any]]:
        tx.traceparent = new_traceparent(request.headers.get("traceparent"))
        return await _resolve(tx, reply_id, decided.decision)

    what = request.url.path.encode() + b"\n" + await request.body()
    status, answer = await runtime.idempotent(principal, idempotency_key, what, work)
    if status == 202 and await effective_within(runtime, UUID(answer["optout"]), EFFECTIVE_SECONDS):
        status, answer = 200, answer | {"state": "effective"}
    return JSONResponse(answer, status)


async def _resolve(tx: Tx, reply_id: UUID, decision: Reading) -> tuple[int, dict[str, Any]]:
    found = await flagged.take(tx, reply_id)
    if found is None:
        raise Problem(404, "Unknown reply")
    if found.decision:
        raise Problem(409, "Decided already", found.decision.value)
    people = await _not_erased(tx, [found.patient_id] if found.patient_id else [])
    said: list[Command] = []
    if decision is Reading.OPT_OUT:  # first: no reader may see the channel open in between
        said += [Block(patient, found.channel, tx.actor, "reply-read") for patient in people]
        await _commit_to(tx, said)
        await addresses.block(tx, found.channel, found.digest)
    if found.reply is Reply.DOUBT:
        await _commit_to(tx, [Release(patient, reply_id) for patient in people])
        await addresses.release(tx, found.channel, found.digest)
    await flagged.decide(tx, reply_id, decision)
    tx.audit("reply:" + decision.value, found.patient_id, str(reply_id))
    if decision is Reading.NO_OPT_OUT:
        return 200, {"state": "decided"}
    optout = await permits.opt_out(tx, found.channel, people, found.digest)
    return 202, {"state": "pending", "optout": str(optout)}


async def take(runtime: Runtime, inbound: Inbound) -> None:
    """Block or hold what has to be; the drain follows by itself. A text begins a trace, its confirmation is in it."""
    reply = read_reply(inbound.text)
    digest = addresses.digest_of(runtime.index, "phone", inbound.sender)
    async with runtime.transaction(PROVIDER, new_traceparent()) as tx:
        if not await permits.receive(tx, inbound.id, reply.value, flagged=reply.flagged):
            return
        tx.audit("reply:" + reply.value, None)
        if reply is Reply.HARMLESS:
            return
        patients = await _not_erased(tx, await addresses.patients_at(tx, digest))
        if reply is Reply.STOP:
            await _block(runtime, tx, inbound, patients, digest)
            return
        waiting = await flagged.add(tx, inbound.id, patients, digest, reply, inbound.text)
        if reply is Reply.DOUBT:
            await _commit_to(tx, [Hold(patient, waiting[patient]) for patient in patients])
            await addresses.hold(tx, Channel.SMS, digest, len(waiting))
            await permits.opt_out(tx, Channel.SMS, patients, digest, inbound.id, received=inbound.received_at)


async def _block(runtime: Runtime, tx: Tx, inbound: Inbound, patients: Sequence[UUID], digest: bytes) -> None:
    """Everybody at the number, and the number itself."""
    said = [Block(patient, Channel.SMS, PROVIDER, Reply.STOP.value) for patient in patients]
    states = await _commit_to(tx, said)
    was_open = await addresses.block(tx, Channel.SMS, digest)
    confirmation = _confirmation(runtime, tx, states, inbound.sender) if was_open else None
    await permits.opt_out(
        tx, Channel.SMS, patients, digest, inbound.id, received=inbound.received_at, confirmation=confirmation
    )


async def _commit_to(tx: Tx, said: Sequence[Command]) -> dict[UUID, Preferences]:
    return await consumers.preferences.within(tx, said) if said else {}


async def _not_erased(tx: Tx, patients: Sequence[UUID]) -> list[UUID]:
    """Those of these people of whom something may still be stored, locked."""
    await tx.lock(patients)
    return [patient for patient in patients if patient not in tx.erased]


def _confirmation(
    runtime: Runtime, tx: Tx, states: Mapping[UUID, Preferences], sender: str
) -> permits.Confirmation | None:
    """One for a number, however many people have it; none for a number that nobody living has.

    What is merely in doubt is not confirmed: the law speaks of a request, and a person has yet to read this one.
    """
    assert isinstance(runtime.settings, Settings)
    address = addresses.normal("phone", sender)
    living = sorted(patient for patient, state in states.items() if not state.deceased)
    if not (runtime.settings.confirm_optouts and address and living):
        return None
    return permits.Confirmation(living[0], tx.seal(living[0], permits.ADDRESS, address.encode()))
