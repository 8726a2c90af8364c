"""What people answer by text: taken durably before the provider is answered."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from consent import consumers
from consent.domain.preferences import Block, Preferences
from consent.domain.replies import Reply, read_reply
from consent.settings import Settings
from consent.storage import addresses, permits
from phi_common.db import Tx
from phi_common.events.consent import Channel
from phi_common.runtime import Runtime

PROVIDER = "provider:sms"


class Inbound(BaseModel):
    """A text that the provider received for us."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    sender: Annotated[str, Field(alias="from", min_length=1, max_length=40)]
    text: Annotated[str, Field(max_length=4000)] = ""
    received_at: AwareDatetime | None = None
    """When the provider got it, in real time: a webhook may come late, and a confirmation may not."""


async def take(runtime: Runtime, inbound: Inbound) -> None:
    """Block what has to be blocked; the drain follows by itself."""
    reply = read_reply(inbound.text)
    digest = addresses.digest_of(runtime.index, "phone", inbound.sender)
    async with runtime.transaction(PROVIDER) as tx:
        if not await permits.receive(tx, inbound.id, reply.value, flagged=reply.flagged):
            return
        tx.audit("reply:" + reply.value, None)
        if reply.blocks:
            await _block(runtime, tx, inbound, reply, digest)


async def _block(runtime: Runtime, tx: Tx, inbound: Inbound, reply: Reply, digest: bytes) -> None:
    """Everybody at the number, and the number itself."""
    patients = await _people_at(tx, digest)
    said = [Block(patient, Channel.SMS, PROVIDER, reply.value) for patient in patients]
    states = await consumers.preferences.within(tx, said) if said else {}
    was_open = await addresses.block(tx, Channel.SMS, digest)
    confirmation = _confirmation(runtime, tx, states, inbound.sender) if reply is Reply.STOP and was_open else None
    await permits.opt_out(
        tx, Channel.SMS, patients, digest, inbound.id, received=inbound.received_at, confirmation=confirmation
    )


async def _people_at(tx: Tx, digest: bytes) -> list[UUID]:
    patients = await addresses.patients_at(tx, digest)
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
