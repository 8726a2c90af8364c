"""From a due delivery to its outcome: guard, permit, one call, record."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from outreach.gate import deliveries
from outreach.gate.deliveries import Claimed, Record
from outreach.gate.fence import ALARM, TooLate, look
from outreach.gate.permits import Permit, Permits, PermitsUnavailable, Refusal
from outreach.gate.providers import ProviderUnavailable, Rejected, Sent, SmsProvider, Unknown, Untouched
from outreach.templates.guard import says_too_much
from phi_common.eventing.consume import TRANSIENT
from phi_common.events.consent import Channel
from phi_common.telemetry import log, span
from phi_common.transaction import Erased, Tx
from phi_common.vault import VaultUnavailable

AT_ONCE = 16
LOST_AFTER = 15.0
"""Longer than a permit and a call can take together."""
ASK_AFTER = 10.0
"""By then a request has reached the provider or never will."""
LEAST_REST = 0.5
IDLE, BACK_OFF = 0.1, 1.0
CLOSING = {"sent": "sent", "failed": "not-sent", "unknown": "unknown"}
"""What consent is told. A permit of unknown outcome keeps opt-outs waiting until its time has run out."""


class Transactions(Protocol):
    """Where transactions come from."""

    def transaction(self, actor: str) -> AbstractAsyncContextManager[Tx]:
        """A writing transaction."""


def _refused(answer: Refusal) -> Record:
    """A permit that is on record as used cannot be had again: the attempt is spent."""
    if answer.reason == "already-granted":
        return Record("failed", "rejected")
    return Record("refused", answer.reason)


@dataclass(frozen=True)
class Egress:
    """One gate at work. Any number may run: a delivery is claimed by one of them."""

    db: Transactions
    permits: Permits
    sms: SmsProvider
    keys_answer: Callable[[], Awaitable[bool]]
    """Whether the key service answers now: cached keys would open messages for a while without it."""
    name: str = "outreach-gate"
    ask_after: float = ASK_AFTER
    lost_after: float = LOST_AFTER

    async def run(self) -> None:
        """Send what is due, for ever. Trouble of the database or the keys is waited out."""
        while True:
            try:
                wait = await self.turn()
            except TRANSIENT as error:
                log.warning("gate-waits", error)
                wait = BACK_OFF
            if wait:
                await asyncio.sleep(wait)

    async def turn(self) -> float:
        """One batch; how long to wait before the next. While the key service is away nothing is claimed, so sent."""
        async with self.db.transaction(self.name) as tx:
            await deliveries.lose(tx, self.lost_after)
            claimed = await deliveries.claim(tx, AT_ONCE)
            if claimed and not await self.keys_answer():
                raise VaultUnavailable("send", "deliveries")
        through = await asyncio.gather(*(self.deliver(message) for message in claimed))
        await self.resolve()
        if not all(through):
            return BACK_OFF
        return 0.0 if claimed else IDLE

    async def deliver(self, message: Claimed) -> bool:
        """Send one claimed message or find out why not; False when it has to wait for another turn."""
        if message.channel is not Channel.PORTAL and says_too_much(message.text):
            await self._finish(message, Record("refused", "content"))
            return True
        try:
            answer = await self._ask(message)
        except PermitsUnavailable:
            return await self._put_back(message)
        if isinstance(answer, Refusal):
            return await self._without_permit(message, answer)
        if message.channel is Channel.PORTAL:
            return await self._to_portal(message, answer)
        return await self._by_sms(message, answer)

    async def _ask(self, message: Claimed) -> Permit | Refusal:
        with span("permit", message.trace, message_id=message.message_id) as asked:
            answer = await self.permits.ask(
                message.message_id, message.patient_id, message.channel.value, message.address, message.optout_id
            )
            asked.note(outcome=answer.reason if isinstance(answer, Refusal) else "granted")
            return answer

    async def _without_permit(self, message: Claimed, answer: Refusal) -> bool:
        """A claimed message was never sent: a permit that it has is one whose answer was lost, and is given back."""
        if answer.held and await self.permits.close(answer.held, "not-sent"):
            return await self._put_back(message)
        await self._finish(message, _refused(answer))
        return True

    async def _to_portal(self, message: Claimed, permit: Permit) -> bool:
        """The inbox row and the outcome are one transaction; its commit is the sending."""
        if permit.rest() < LEAST_REST:
            return await self._unused(message, permit)
        try:
            with span("send", message.trace, message_id=message.message_id), ALARM.until(permit.deadline):
                async with self.db.transaction(self.name) as tx:
                    await tx.load_keys([message.patient_id])
                    await deliveries.to_portal(tx, message, tx.now)
                    await deliveries.finish(
                        tx, message.message_id, message.patient_id, Record("sent"), permit_id=permit.permit_id
                    )
                    look(permit)
        except TooLate:
            return await self._unused(message, permit)
        except Erased:
            await self.permits.close(permit.permit_id, "not-sent")
            return True
        await self.permits.close(permit.permit_id, "sent")
        return True

    async def _by_sms(self, message: Claimed, permit: Permit) -> bool:
        """One call within the permit's life."""
        async with self.db.transaction(self.name) as tx:
            there = await deliveries.hold_permit(tx, message.message_id, permit.permit_id)
        if not there:  # the patient was erased since the claim
            await self.permits.close(permit.permit_id, "not-sent")
            return True
        if permit.rest() < LEAST_REST or message.address is None:
            return await self._unused(message, permit)
        with span("send", message.trace, message_id=message.message_id) as sent:
            outcome = await self.sms.send(message.message_id, message.address, message.text, permit)
            sent.note(outcome=type(outcome).__name__.lower())
        match outcome:
            case Untouched():
                return await self._unused(message, permit)
            case Sent(provider_id):
                record = Record("sent", provider_id=provider_id)
            case Rejected():
                record = Record("failed", "rejected")
            case Unknown():
                record = Record("unknown")
        await self.permits.close(permit.permit_id, CLOSING[record.state])
        await self._finish(message, record, permit.permit_id)
        return True

    async def _unused(self, message: Claimed, permit: Permit) -> bool:
        await self.permits.close(permit.permit_id, "not-sent")
        return await self._put_back(message)

    async def _put_back(self, message: Claimed) -> bool:
        async with self.db.transaction(self.name) as tx:
            await deliveries.put_back(tx, message.message_id)
        return False

    async def _finish(self, message: Claimed, record: Record, permit_id: UUID | None = None) -> None:
        async with self.db.transaction(self.name) as tx:
            await deliveries.finish(tx, message.message_id, message.patient_id, record, permit_id=permit_id)

    async def resolve(self) -> None:
        """Ask the provider about messages whose outcome was lost; after a day a person has to look.

        What the provider does not have by now it will not accept any more. If the call is known to be over, the message
        may be tried again under a new permit; if its gate died, that cannot be known, and the attempt is spent.
        """
        async with self.db.transaction(self.name) as tx:
            open_ones = await deliveries.unresolved(tx, self.ask_after)
        for message, patient, called, give_up in open_ones:
            try:
                found = await self.sms.find(message)
            except ProviderUnavailable:
                if not give_up:
                    return
                record = Record("unknown", "unknown-outcome")
            else:
                record = Record("sent", provider_id=found.provider_id) if found else Record("failed", "rejected")
            if called and record.state == "failed":
                async with self.db.transaction(self.name) as tx:
                    await deliveries.put_back(tx, message, after="unknown")
                continue
            async with self.db.transaction(self.name) as tx:
                await deliveries.finish(tx, message, patient, record, after="unknown")
