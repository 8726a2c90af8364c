"""Errors over HTTP: the right form, and nothing of the request or of an exception's text in them."""

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from phi_common.problem import MEDIA_TYPE, Problem, install


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    born: int


@pytest.fixture
async def client():
    app = FastAPI()
    install(app)

    @app.post("/body")
    async def body(body: Body) -> int:
        return body.born

    @app.get("/refused")
    async def refused() -> None:
        raise Problem(409, "Already so", "The state is final", code="final")

    @app.get("/gone")
    async def gone() -> None:
        raise HTTPException(410, "Ann Smith was erased")

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("Ann Smith")

    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as found:
        yield found


async def test_a_problem_carries_its_members(client):
    answer = await client.get("/refused")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json() == {
        "type": "about:blank",
        "title": "Already so",
        "status": 409,
        "detail": "The state is final",
        "code": "final",
    }


@pytest.mark.parametrize(
    ("sent", "location"),
    [({"born": "Ann Smith"}, ["body", "born"]), ({"born": 1, "Ann Smith": 1}, ["body", "?"])],
)
async def test_an_invalid_request_is_told_where_and_never_what(client, sent, location):
    answer = await client.post("/body", json=sent)
    assert answer.status_code == 422
    assert "Smith" not in answer.text
    assert answer.json()["errors"][0]["location"] == location


async def test_an_unexpected_error_gives_an_id_and_nothing_else(client):
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json().keys() == {"type", "title", "status", "error_id"}


async def test_http_errors_have_the_phrase_of_their_status_only(client):
    assert (await client.get("/nowhere")).json()["title"] == "Not Found"
    assert (await client.get("/gone")).json() == {"type": "about:blank", "title": "Gone", "status": 410}
