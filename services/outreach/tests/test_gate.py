"""The gate under its own database role, against consent and a provider on real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from outreach.domain.state import message_id
from outreach.gate import permits as permit_client
from outreach.gate.egress import Egress
from outreach.gate.fence import TooLate
from outreach.gate.permits import Permits
from outreach.gate.providers import SmsProvider
from phi_common.clock import new_id, system_now
from phi_common.events.consent import Channel, OptOutConfirmationDue, Permission, PreferenceChanged
from phi_common.events.outreach import (
    MessageFailed,
    MessageSent,
    OptOutConfirmationSent,
    OutreachScheduled,
    OutreachSuppressed,
)
from phi_common.runtime import Runtime
from phi_common.settings import CommonSettings
from phi_common.testing import emitted, shared_settings, system, wrapped_secret_id


@dataclass
class Outside:
    """Consent and the provider, and what they were asked."""

    refuse: str | None = None
    held: list[str] = field(default_factory=list)
    consent_status: int = 201
    life_ms: int = 5000
    provider_status: int = 201
    answer_lost: bool = False
    asked: list[dict] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    texts: list[dict] = field(default_factory=list)
    authorization: set[str] = field(default_factory=set)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/permits")
        async def ask(request: Request) -> Response:
            self.authorization.add(request.headers["authorization"])
            self.asked.append(await request.json())
            if self.refuse:
                return JSONResponse({"title": "No permit", "reason": self.refuse}, 403)
            if self.held:
                return JSONResponse({"reason": "already-granted", "permit_id": self.held[-1]}, 409)
            return JSONResponse({"id": str(new_id()), "expires_in_ms": self.life_ms}, self.consent_status)

        @app.post("/permits/{permit_id}/close")
        async def close(permit_id: str, request: Request) -> dict[str, str]:
            self.closed.append((await request.json())["outcome"])
            if permit_id in self.held:
                self.held.remove(permit_id)
            return {}

        @app.post("/messages")
        async def send(request: Request) -> Response:
            if self.provider_status == 201:
                self.texts.append(await request.json())
            if self.answer_lost:
                await asyncio.sleep(5)
            return JSONResponse({"id": "SM1"}, self.provider_status)

        @app.get("/messages")
        async def find(tag: str) -> dict[str, list]:
            return {"messages": [{"id": "SM1"} for text in self.texts if text["tag"] == tag]}

        return app


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await task


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest_asyncio.fixture
async def gate(runtime, clock, outside, tmp_path) -> AsyncIterator[Egress]:
    settings = CommonSettings(
        role_id=system()["vault"]["role_ids"]["outreach-gate"],
        secret_id_file=wrapped_secret_id("outreach-gate", tmp_path),
    )
    own = Runtime("outreach-gate", settings, shared_settings(), database="outreach", role="outreach_gate")
    own.now = clock.now
    await own.connect()
    await own.open_keys(create=False)
    token = tmp_path / "token"
    token.write_text("service-token\n")
    trust = ssl.create_default_context()
    async with served(outside.app()) as url:
        permits, sms = Permits(url, trust, token), SmsProvider(url, trust, "account", "token")
        yield Egress(own.db, permits, sms, ask_after=0.0, lost_after=0.0)
        await permits.aclose()
        await sms.aclose()
    await own.db.engine.dispose()
    own.vault.close()


@pytest_asyncio.fixture
async def due(runtime, tell, sweep, story):
    """One text that is due."""
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap))
    await sweep()
    return patient, gap


async def states(runtime):
    async with runtime.transaction("test") as tx:
        return await (await tx.pg.execute("SELECT state, reason FROM deliveries ORDER BY attempt")).fetchall()


async def kinds(runtime):
    return [type(event) for event in await emitted(runtime)]


async def test_one_permit_one_call(runtime, gate, outside, due, sweep):
    patient, gap = due
    await gate.turn()
    await gate.turn()
    assert [text["tag"] for text in outside.texts] == [str(message_id(gap, 1))]
    assert outside.texts[0]["to"] == outside.asked[0]["address"] == "+12025550111"
    assert outside.asked[0]["patient_ids"] == [str(patient)]
    assert outside.authorization == {"Bearer service-token"}
    assert outside.closed == ["sent"]
    await sweep()
    assert await kinds(runtime) == [OutreachScheduled, MessageSent]


async def test_a_refusal_sends_nothing(runtime, gate, outside, due, sweep):
    outside.refuse = "opted-out"
    await gate.turn()
    await sweep()
    assert outside.texts == []
    assert (await emitted(runtime, OutreachSuppressed))[0].reason.value == "opted-out"


async def test_without_consent_the_message_waits_and_then_expires(runtime, gate, outside, due, clock, sweep):
    outside.consent_status = 503
    assert await gate.turn() > 0
    assert await states(runtime) == [("ready", None)]
    clock.advance(hours=12)
    outside.consent_status = 201
    await gate.turn()
    assert await states(runtime) == [("failed", "expired")]
    assert outside.texts == []
    await sweep()
    assert await kinds(runtime) == [OutreachScheduled, MessageFailed]


async def test_a_permit_whose_answer_was_lost_is_given_back(runtime, gate, outside, due):
    outside.held.append(str(new_id()))
    assert await gate.turn() > 0
    assert (outside.texts, outside.closed) == ([], ["not-sent"])
    await gate.turn()
    assert (len(outside.texts), outside.closed) == (1, ["not-sent", "sent"])


async def test_a_permit_that_ran_out_is_not_used(runtime, gate, outside, due):
    outside.life_ms = 300
    await gate.turn()
    assert outside.texts == []
    assert outside.closed == ["not-sent"]
    assert await states(runtime) == [("ready", None)]


async def test_an_opt_out_before_the_claim_calls_the_message_back(runtime, gate, outside, due, tell):
    patient, _ = due
    await tell(
        PreferenceChanged(
            patient_id=patient, channel=Channel.SMS, permission=Permission.BLOCKED, version=2, since="2026-03-02T15:00Z"
        )
    )
    await gate.turn()
    assert outside.asked == []
    assert await states(runtime) == [("cancelled", None)]


@pytest.mark.parametrize(("status", "state"), [(400, "failed"), (500, "unknown")])
async def test_the_providers_refusal_and_its_failure(runtime, gate, outside, due, status, state):
    outside.provider_status = status
    (message,) = await claimed(gate)
    await gate.deliver(message)
    assert (await states(runtime))[0][0] == state


async def claimed(gate):
    from outreach.gate import deliveries

    async with gate.db.transaction("test") as tx:
        return await deliveries.claim(tx, 10)


@pytest.mark.parametrize("taken", [True, False], ids=["the provider has it", "the provider never had it"])
async def test_a_lost_answer_is_resolved_by_asking_never_by_sending(
    runtime, gate, outside, due, sweep, taken, monkeypatch
):
    monkeypatch.setattr("outreach.gate.providers.TIMEOUT", 0.3)
    outside.answer_lost, outside.provider_status = taken, 201 if taken else 500
    (message,) = await claimed(gate)
    await gate.deliver(message)
    assert await states(runtime) == [("unknown", None)]
    assert outside.closed == ["unknown"]
    outside.answer_lost, outside.provider_status = False, 201
    await gate.turn()
    await sweep()
    assert await states(runtime) == [("sent" if taken else "ready", None)]
    await gate.turn()
    await sweep()
    assert await states(runtime) == [("sent", None)]
    assert len(outside.texts) == 1
    assert len(outside.asked) == (1 if taken else 2), "another call takes another permit"
    assert await kinds(runtime) == [OutreachScheduled, MessageSent]


@pytest.mark.parametrize("taken", [True, False], ids=["the provider has it", "the provider never had it"])
async def test_a_gate_that_died_in_the_act_never_repeats(runtime, gate, outside, due, sweep, taken):
    """It may not be dead but stopped, and may hold a permit still: what the provider lacks now is no proof."""
    (message,) = await claimed(gate)
    if taken:
        outside.texts.append({"tag": str(message.message_id)})
    async with gate.db.transaction("test") as tx:
        await tx.pg.execute("UPDATE deliveries SET permit_id = %s", [new_id()])
    await gate.turn()
    assert await states(runtime) == [("sent", None) if taken else ("failed", "rejected")]
    assert outside.asked == []


async def test_what_the_provider_got_too_late_is_tried_again_under_a_new_permit(runtime, gate, outside, due):
    outside.provider_status = 410
    assert await gate.turn() > 0
    assert (outside.closed, await states(runtime)) == (["not-sent"], [("ready", None)])
    outside.provider_status = 201
    await gate.turn()
    assert len(outside.texts) == 1


async def test_the_provider_is_told_how_long_the_permit_lives(runtime, gate, outside, due):
    before = system_now()
    await gate.turn()
    left = datetime.fromisoformat(outside.texts[0]["expire_at"]) - before
    assert timedelta(seconds=4.5) < left < timedelta(seconds=6)


async def test_a_portal_message_is_not_committed_after_the_permit_has_run_out(
    runtime, gate, outside, tell, sweep, story, monkeypatch
):
    def too_late(permit):
        raise TooLate

    monkeypatch.setattr("outreach.gate.egress.look", too_late)
    await tell(*story(new_id(), new_id(), Channel.PORTAL))
    await sweep()
    await gate.turn()
    async with runtime.transaction("test") as tx:
        assert await (await tx.pg.execute("SELECT count(*) FROM portal_messages")).fetchall() == [(0,)]
    assert (outside.closed, await states(runtime)) == (["not-sent"], [("ready", None)])


async def test_the_answer_to_a_stop_takes_the_same_way_with_a_purpose_of_its_own(
    runtime, gate, outside, tell, sweep, story
):
    patient, optout = new_id(), new_id()
    await tell(story(patient, new_id())[0])
    due = OptOutConfirmationDue(patient_id=patient, optout_id=optout, channel=Channel.SMS, address="+12025550111")
    await tell(due, due)
    await gate.turn()
    await gate.turn()
    await sweep()
    assert [(asked["purpose"], asked["optout_id"]) for asked in outside.asked] == [("optout-confirm", str(optout))]
    assert [(text["to"], "opted out" in text["body"]) for text in outside.texts] == [("+12025550111", True)]
    assert await kinds(runtime) == [OptOutConfirmationSent]


async def test_an_answer_to_a_stop_that_waited_too_long_is_not_sent(runtime, gate, outside, tell, sweep, clock):
    patient, optout = new_id(), new_id()
    await tell(OptOutConfirmationDue(patient_id=patient, optout_id=optout, channel=Channel.SMS, address="+12025550111"))
    outside.consent_status = 503
    await gate.turn()
    clock.advance(minutes=5)
    outside.consent_status = 201
    await gate.turn()
    await sweep()
    assert (outside.texts, await states(runtime), await kinds(runtime)) == ([], [("failed", "expired")], [])


async def test_the_guard_looks_once_more(runtime, gate, outside, due, tell):
    patient, _ = due
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        text = b'{"address": "+12025550111", "text": "Your diabetes visit"}'
        await tx.pg.execute("UPDATE deliveries SET sealed = %s", [tx.seal(patient, "deliveries.sealed", text)])
    await gate.turn()
    assert outside.asked == []
    assert await states(runtime) == [("refused", "content")]


async def test_the_portal_gets_clinical_words_and_no_provider(runtime, gate, outside, tell, sweep, story):
    patient, gap = new_id(), new_id()
    await tell(*story(patient, gap, Channel.PORTAL))
    await sweep()
    await gate.turn()
    assert outside.texts == []
    assert (outside.asked[0]["channel"], outside.asked[0]["address"]) == ("portal", None)
    async with runtime.transaction("test") as tx:
        await tx.load_keys([patient])
        ((sealed,),) = await (await tx.pg.execute("SELECT sealed FROM portal_messages")).fetchall()
        assert b"HbA1c" in tx.open(patient, "portal_messages.sealed", sealed)


async def test_two_gates_share_the_work(runtime, gate, outside, tell, sweep, story):
    people = [(new_id(), new_id()) for _ in range(12)]
    for n, (patient, gap) in enumerate(people):
        await tell(*story(patient, gap, number=f"+1202555{n:04}"))
    await sweep()
    one, other = replace(gate, lost_after=15.0), replace(gate, lost_after=15.0)
    await asyncio.gather(one.turn(), other.turn())
    assert len({text["tag"] for text in outside.texts}) == len(outside.texts) == 12


async def test_the_gate_sees_no_conversation(gate):
    with pytest.raises(Exception, match="permission denied"):
        async with gate.db.transaction("test") as tx:
            await tx.pg.execute("SELECT * FROM conversations")


def test_the_stopwatch_runs_while_the_machine_sleeps():
    assert permit_client.CLOCK_BOOTTIME == 7
