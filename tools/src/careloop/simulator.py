"""An SMS provider seen from outside: takes messages, reports on them, passes on what patients text back.

It keeps a journal of every accepted message, so that a proof can say what really went out. A number that ends in
0001 is rejected, 0002 answers slowly, 0003 is accepted with the answer lost, 0004 is accepted and never delivered.
"""

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self
from uuid import uuid4

import httpx2
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

PREFIX = "CARELOOP_SIMULATOR_"
REJECT, SLOW, LOSE_ANSWER, UNDELIVERED = "0001", "0002", "0003", "0004"
SLOW_SECONDS, LOST_SECONDS = 1.5, 6.0
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0


class Message(BaseModel):
    """What an account asks to send. `tag` is the account's own id; the provider does not look for repeats."""

    to: str
    body: str
    tag: str
    expire_at: AwareDatetime | None = None
    """Not accepted later than this, by the provider's clock."""


class Inbound(BaseModel):
    """What a patient texts back."""

    model_config = ConfigDict(populate_by_name=True)

    sender: str = Field(alias="from")
    body: str


@dataclass(frozen=True)
class Options:
    """What the environment says."""

    listen: str
    cert_file: str
    key_file: str
    account: str
    token: str
    secret: bytes
    journal: Path
    ca_file: str
    status_url: str | None
    inbound_url: str | None

    @classmethod
    def from_environment(cls) -> Self:
        """Every name has the prefix `CARELOOP_SIMULATOR_`, but the shared `CARELOOP_CA_FILE`."""
        get = os.environ.get
        return cls(
            listen=os.environ[PREFIX + "LISTEN"],
            cert_file=os.environ[PREFIX + "TLS_CERT_FILE"],
            key_file=os.environ[PREFIX + "TLS_KEY_FILE"],
            account=os.environ[PREFIX + "ACCOUNT"],
            token=os.environ[PREFIX + "TOKEN"],
            secret=os.environ[PREFIX + "WEBHOOK_SECRET"].encode(),
            journal=Path(os.environ[PREFIX + "JOURNAL"]),
            ca_file=os.environ["CARELOOP_CA_FILE"],
            status_url=get(PREFIX + "STATUS_URL"),
            inbound_url=get(PREFIX + "INBOUND_URL"),
        )


@dataclass
class Provider:
    """The messages it took, and the webhooks that it still owes."""

    options: Options
    accepted: list[dict[str, Any]] = field(default_factory=list)
    owed: set["asyncio.Task[None]"] = field(default_factory=set)
    mode: str = "ok"

    def remember(self) -> None:
        """Take up the journal of a former run."""
        if self.options.journal.exists():
            lines = self.options.journal.read_text(encoding="utf-8").splitlines()
            self.accepted = [json.loads(line) for line in lines if line]

    def accept(self, message: Message) -> dict[str, Any]:
        """Take a message for good: on disk before the answer."""
        entry = {"id": "SM" + uuid4().hex, "at": time.time(), **message.model_dump(exclude={"expire_at"})}
        with self.options.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(entry) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self.accepted.append(entry)
        return entry

    def owe(self, url: str | None, body: dict[str, Any]) -> None:
        """Deliver a webhook in the background until it is taken."""
        if url:
            task = asyncio.create_task(self._post(url, json.dumps(body).encode()))
            self.owed.add(task)
            task.add_done_callback(self.owed.discard)

    async def _post(self, url: str, body: bytes) -> None:
        wait = FIRST_WAIT
        trust = ssl.create_default_context(cafile=self.options.ca_file)
        async with httpx2.AsyncClient(verify=trust, trust_env=False, timeout=5) as http:
            while True:
                try:
                    answer = await http.post(url, content=body, headers=self._signed(body))
                    if answer.status_code < 300:
                        return
                    print(f"webhook answered {answer.status_code}", file=sys.stderr)
                except httpx2.HTTPError as error:
                    print(f"webhook not delivered: {type(error).__name__}", file=sys.stderr)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def _signed(self, body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()))
        mac = hmac.new(self.options.secret, stamp.encode() + b"." + body, hashlib.sha256)
        return {"X-Timestamp": stamp, "X-Signature": mac.hexdigest(), "Content-Type": "application/json"}


def create_app(options: Options) -> FastAPI:
    """The provider's API for one account, and the patients' side of it."""
    provider = Provider(options)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        provider.remember()
        yield
        for task in provider.owed:
            task.cancel()

    def account(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> None:
        same = secrets.compare_digest(given.username.encode(), options.account.encode())
        if not (secrets.compare_digest(given.password.encode(), options.token.encode()) and same):
            raise HTTPException(401)

    app = FastAPI(title="sms-provider-simulator", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.provider = provider
    _account_side(app, provider, account)
    _outside(app, provider)
    return app


def _account_side(app: FastAPI, provider: Provider, account: Any) -> None:
    """What the account that sends may call."""

    @app.post("/messages", status_code=201, dependencies=[Depends(account)])
    async def send(message: Message) -> dict[str, str]:
        how = provider.mode if provider.mode != "ok" else message.to[-4:]
        if how in ("fail", REJECT):
            raise HTTPException(400, "rejected")
        if how in ("slow", SLOW):
            await asyncio.sleep(SLOW_SECONDS)
        if message.expire_at and datetime.now(UTC) > message.expire_at:
            raise HTTPException(410, "expired")
        entry = provider.accept(message)
        status = "undelivered" if how == UNDELIVERED else "delivered"
        provider.owe(provider.options.status_url, {"id": entry["id"], "tag": message.tag, "status": status})
        if how in ("accept-then-timeout", LOSE_ANSWER):
            await asyncio.sleep(LOST_SECONDS)
        return {"id": entry["id"]}

    @app.get("/messages", dependencies=[Depends(account)])
    async def find(tag: str) -> dict[str, Any]:
        found = [entry for entry in provider.accepted if entry["tag"] == tag]
        return {"messages": [{"id": entry["id"], "tag": entry["tag"]} for entry in found]}


def _outside(app: FastAPI, provider: Provider) -> None:
    """The patients' phones, and what a test wants to know."""

    @app.post("/inbound", status_code=202)
    async def text_back(inbound: Inbound) -> dict[str, str]:
        found = "IN" + uuid4().hex
        received = datetime.now(UTC).isoformat()
        body = {"id": found, "from": inbound.sender, "text": inbound.body, "received_at": received}
        provider.owe(provider.options.inbound_url, body)
        return {"id": found}

    @app.put("/mode/{mode}", status_code=204, response_class=Response)
    async def set_mode(mode: str) -> None:
        if mode not in ("ok", "fail", "slow", "accept-then-timeout"):
            raise HTTPException(422, "unknown mode")
        provider.mode = mode

    @app.get("/pending")
    async def pending() -> dict[str, int]:
        return {"pending": len(provider.owed)}

    @app.get("/livez", status_code=204, response_class=Response)
    async def livez() -> None:
        """It answers."""


def main() -> None:
    """`python -m careloop.simulator`."""
    options = Options.from_environment()
    host, _, port = options.listen.rpartition(":")
    uvicorn.run(
        create_app(options),
        host=host,
        port=int(port),
        ssl_certfile=options.cert_file,
        ssl_keyfile=options.key_file,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
