"""The outreach service's own database, a patient told by events, and the gate with an outside that answers."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from outreach import consumers
from outreach.gate.egress import Egress
from outreach.gate.permits import Permits
from outreach.gate.providers import SmsProvider
from phi_common.clock import new_id
from phi_common.events import Event
from phi_common.events.care_gap import ClosedBy, GapClosed, GapOpened
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.patients import ContactChanged, Phone, Use
from phi_common.runtime import Runtime
from phi_common.settings import CommonSettings
from phi_common.testing import (
    Clock,
    clock,
    record,
    runtime_fixture,
    shared_settings,
    system,
    wrapped_secret_id,
)

runtime = runtime_fixture("outreach")

__all__ = ["clock", "runtime"]

RULE = "hba1c-diabetes"
DAY = date(2026, 3, 2)
TOPICS = {subscription.topic: subscription for subscription in consumers.SUBSCRIPTIONS}


@pytest.fixture
def tell(runtime: Runtime) -> Callable[..., Awaitable[None]]:
    """Give events to their subscriptions, as Kafka would."""

    async def tell(*events: Event) -> None:
        for event in events:
            await TOPICS[event.topic].handle(runtime, [record(event)])

    return tell


@pytest.fixture
def sweep(runtime: Runtime, clock: Clock) -> Callable[[], Awaitable[None]]:
    """Let the sweeper take everything that is due now."""

    async def sweep() -> None:
        while await consumers.SWEEPS[0].run(runtime, clock.now()):
            pass

    return sweep


@pytest.fixture
def story() -> Callable[..., list[Event]]:
    """A patient with a mobile number, one allowed channel and an open gap."""

    def story(patient: UUID, gap: UUID, channel: Channel = Channel.SMS, number: str = "+12025550111") -> list[Event]:
        phone = Phone(number=number, use=Use.MOBILE)
        return [
            ContactChanged(patient_id=patient, phones=(phone,), zone="America/New_York"),
            PreferenceChanged(
                patient_id=patient, channel=channel, permission=Permission.ALLOWED, version=1, since="2026-03-01T00:00Z"
            ),
            GapOpened(patient_id=patient, gap_id=gap, rule=RULE, rule_version="1", due=DAY),
        ]

    return story


@pytest.fixture
def closed() -> Callable[[UUID, UUID], Event]:
    """The end of a gap."""

    def closed(patient: UUID, gap: UUID) -> Event:
        return GapClosed(patient_id=patient, gap_id=gap, rule=RULE, rule_version="1", by=ClosedBy.EVIDENCE, on=DAY)

    return closed


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
        yield Egress(own.db, permits, sms, own.vault.healthy, ask_after=0.0, lost_after=0.0)
        await permits.aclose()
        await sms.aclose()
    await own.db.engine.dispose()
    own.vault.close()
