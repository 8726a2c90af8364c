"""The one text that answers an opt-out by text: it says that it was heard, and nothing else.

47 CFR 64.1200(a)(12) allows it once, within five minutes, to where the opt-out came from. Consent judges all three
when the gate asks for the permit; the hours of the person's day do not hold an answer to a text just written.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from outreach.domain.state import Conversation, Delivery, Outcome
from phi_common.decision import Decision
from phi_common.events.consent import Channel, OptOutConfirmationDue
from phi_common.events.outreach import OptOutConfirmationSent

WITHIN = timedelta(minutes=5)


def confirm_opt_out(state: Conversation, event: OptOutConfirmationDue, now: datetime) -> Decision[Conversation]:
    """Hand the confirmation to the gate. Its id follows from the opt-out: a repeat is the same message."""
    if event.channel is not Channel.SMS:
        return Decision(state)
    delivery = Delivery(
        confirmation_id(event.optout_id),
        None,
        1,
        event.channel,
        address=event.address,
        language=state.contact.language if state.contact else "",
        rule="",
        due=now,
        send_by=now + WITHIN,
        optout_id=event.optout_id,
        trace=event.trace,
    )
    return Decision(replace(state, desk=replace(state.desk, handed=(*state.desk.handed, delivery))))


def confirmed(state: Conversation, patient: UUID, outcome: Outcome) -> Decision[Conversation]:
    """Tell once that it went out. One that did not is on the delivery's own record, and is not tried again."""
    if outcome.optout_id is None or outcome.state != "sent" or outcome.optout_id in state.confirmed:
        return Decision(state)
    told = OptOutConfirmationSent(
        patient_id=patient,
        message_id=outcome.message_id,
        optout_id=outcome.optout_id,
        channel=Channel.SMS,
        permit_id=outcome.permit_id,
        at=outcome.at,
    )
    return Decision(replace(state, confirmed=state.confirmed | {outcome.optout_id}), (told,))


def confirmation_id(optout_id: UUID) -> UUID:
    """The id of the one message that confirms this opt-out."""
    return uuid5(optout_id, "confirmation")
