"""Busy routes before the framework's layers; all else goes through as it came."""

from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from phi_common.front import Front, plain_routes

router = APIRouter()


async def busy(request: Request) -> Response:
    return Response(await request.body() + request.app.title.encode())


async def broken(request: Request) -> Response:
    raise LookupError


router.add_route("/busy", busy, methods=["POST"])
router.add_route("/broken", broken, methods=["POST"])
router.add_route("/any/{name}", busy, methods=["POST"])


@router.get("/usual")
async def usual() -> str:
    return "usual"


@pytest.fixture
async def http() -> Any:
    app = FastAPI(title="app")
    app.include_router(router)
    transport = httpx2.ASGITransport(Front(app, plain_routes(router)))
    async with httpx2.AsyncClient(transport=transport, base_url="https://service.invalid") as found:
        yield found


def test_only_raw_routes_with_a_fixed_path_are_answered_in_front():
    assert plain_routes(router) == {("POST", "/busy"): busy, ("POST", "/broken"): broken}


async def test_a_busy_route_is_answered_with_its_application_at_hand(http):
    answer = await http.post("/busy", content=b"body of ")
    assert (answer.status_code, answer.content) == (200, b"body of app")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/usual", 200), ("POST", "/any/name", 200), ("GET", "/busy", 405), ("POST", "/nowhere", 404)],
)
async def test_all_else_is_the_application_s(http, method, path, status):
    assert (await http.request(method, path)).status_code == status


async def test_an_error_is_the_server_s_to_answer_and_not_lost(http):
    with pytest.raises(LookupError):
        await http.post("/broken")
