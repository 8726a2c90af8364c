"""The simulated SMS provider as a process, over TLS."""

import asyncio
import hashlib
import hmac
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI, Request, Response

from careloop.certificates import Authority, Leaf

SECRET = "signing"


@dataclass
class Receiver:
    """Where webhooks arrive; the first one is refused, so that a retry is seen."""

    refusals: int = 1
    taken: list[tuple[str, dict]] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/{kind}")
        async def take(kind: str, request: Request) -> Response:
            body = await request.body()
            signed = request.headers["x-timestamp"].encode() + b"." + body
            wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            assert request.headers["x-signature"] == wanted
            if self.refusals:
                self.refusals -= 1
                return Response(status_code=503)
            self.taken.append((kind, json.loads(body)))
            return Response(status_code=204)

        return app


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest_asyncio.fixture
async def hooks(receiver: Receiver, authority: Authority, leaf: Leaf) -> AsyncIterator[str]:
    port = free_port()
    config = uvicorn.Config(
        receiver.app(), port=port, log_level="error", ssl_certfile=leaf.certificate, ssl_keyfile=leaf.key
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    yield f"https://127.0.0.1:{port}"
    server.should_exit = True
    await task


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def leaf(authority: Authority) -> Leaf:
    return authority.issue("test")


@pytest_asyncio.fixture
async def http(hooks: str, authority: Authority, leaf: Leaf, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    port = free_port()
    own = {
        "LISTEN": f"127.0.0.1:{port}", "TLS_CERT_FILE": leaf.certificate, "TLS_KEY_FILE": leaf.key,
        "ACCOUNT": "account", "TOKEN": "token", "WEBHOOK_SECRET": SECRET, "JOURNAL": tmp_path / "journal",
        "STATUS_URL": f"{hooks}/status", "INBOUND_URL": f"{hooks}/inbound",
    }  # fmt: skip
    env = {f"CARELOOP_SIMULATOR_{name}": str(value) for name, value in own.items()}
    env |= {**os.environ, "CARELOOP_CA_FILE": str(authority.ca_file)}
    process = subprocess.Popen([sys.executable, "-m", "careloop.simulator"], env=env)
    trust = ssl.create_default_context(cafile=authority.ca_file)
    url = f"https://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, verify=trust, auth=("account", "token"), trust_env=False) as client:
        await answering(client)
        yield client
    process.terminate()
    process.wait(10)


async def answering(client: httpx2.AsyncClient) -> None:
    for _ in range(100):
        try:
            await client.get("/livez")
            return
        except httpx2.ConnectError:
            await asyncio.sleep(0.1)
    raise AssertionError("the simulator does not answer")


async def settled(client: httpx2.AsyncClient) -> None:
    for _ in range(100):
        if (await client.get("/pending")).json() == {"pending": 0}:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("webhooks are still owed")


async def test_a_message_is_journalled_found_and_reported(http, receiver, tmp_path):
    message = {"to": "+12025550111", "body": "hello", "tag": "m1"}
    answer = await http.post("/messages", json=message)
    assert answer.status_code == 201
    assert [json.loads(line)["tag"] for line in (tmp_path / "journal").read_text().splitlines()] == ["m1"]
    found = (await http.get("/messages", params={"tag": "m1"})).json()["messages"]
    assert [one["id"] for one in found] == [answer.json()["id"]]
    await settled(http)
    assert receiver.taken == [("status", {"id": answer.json()["id"], "tag": "m1", "status": "delivered"})]


async def test_a_rejected_message_leaves_no_trace(http):
    answer = await http.post("/messages", json={"to": "+12025550001", "body": "hello", "tag": "m2"})
    assert answer.status_code == 400
    assert (await http.get("/messages", params={"tag": "m2"})).json() == {"messages": []}


@pytest.mark.parametrize(
    ("number", "seconds", "status"),
    [("0111", 60, 201), ("0111", -0.1, 410), ("0002", 0.5, 410)],
    ids=["in time", "late", "late by the provider's own slowness"],
)
async def test_a_message_is_not_accepted_after_it_has_expired(http, number, seconds, status):
    expire_at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    message = {"to": f"+1202555{number}", "body": "hello", "tag": "m3", "expire_at": expire_at}
    assert (await http.post("/messages", json=message)).status_code == status
    found = (await http.get("/messages", params={"tag": "m3"})).json()["messages"]
    assert len(found) == (status == 201)


async def test_a_reply_is_passed_on(http, receiver):
    answer = await http.post("/inbound", json={"from": "+12025550111", "body": "STOP"})
    await settled(http)
    ((kind, told),) = receiver.taken
    assert datetime.fromisoformat(told.pop("received_at")) <= datetime.now(UTC)
    assert (kind, told) == ("inbound", {"id": answer.json()["id"], "from": "+12025550111", "text": "STOP"})


async def test_another_account_is_refused(http):
    answer = await http.post("/messages", json={"to": "+1", "body": "", "tag": "x"}, auth=("account", "other"))
    assert answer.status_code == 401
