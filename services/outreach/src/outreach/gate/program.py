"""The gate as a process of its own, with its own identity at the database, the key service and consent."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from outreach.gate.egress import Egress
from outreach.gate.fence import arm_this_process
from outreach.gate.permits import Permits
from outreach.gate.providers import SmsProvider
from outreach.gate.settings import GateSettings
from outreach.storage import work_in_hand
from phi_common import metrics, problem
from phi_common.logs import configure_logging, log
from phi_common.runtime import Runtime
from phi_common.service import listen, settle_garbage_collection
from phi_common.settings import Shared
from phi_common.telemetry import configure_tracing, flush_tracing

NAME = "outreach-gate"
HEALTH_SECONDS = 1.0


def create_app(settings: GateSettings, shared: Shared) -> FastAPI:
    """Health routes, and the egress beside them. There is no route that sends."""
    runtime = Runtime(NAME, settings, shared, database="outreach", role="outreach_gate")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await _start(runtime, settings, stack)
            settle_garbage_collection()
            yield

    app = FastAPI(title=NAME, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.runtime = runtime
    problem.install(app)
    app.add_api_route("/livez", lambda: Response(status_code=204))
    app.add_api_route("/readyz", _readyz)
    app.add_api_route("/metrics", lambda: Response(metrics.render(), media_type=metrics.CONTENT_TYPE))
    app.add_api_route("/barrier", _barrier)
    return app


async def _start(runtime: Runtime, settings: GateSettings, stack: AsyncExitStack) -> None:
    await runtime.connect()
    stack.callback(runtime.vault.close)
    stack.push_async_callback(runtime.db.engine.dispose)
    await runtime.open_keys(create=False)
    trust = ssl.create_default_context(cafile=runtime.shared.ca_file)
    account = await runtime.vault.secret("provider/sms")
    permits = Permits(settings.consent_url, trust, settings.token_file)
    stack.push_async_callback(permits.aclose)
    sms = SmsProvider(settings.provider_url, trust, account["account"], account["token"])
    stack.push_async_callback(sms.aclose)
    stack.callback(flush_tracing)
    egress = Egress(runtime.db, permits, sms, runtime.vault.healthy)
    for work in (runtime.vault.renew(), _watch(runtime), egress.run()):
        stack.push_async_callback(_end, asyncio.create_task(_or_die(work)))


async def _watch(runtime: Runtime) -> NoReturn:
    """Readiness follows the key service; without it nothing is sent."""
    while True:
        if await runtime.vault.healthy():
            runtime.recovered("vault")
        else:
            runtime.troubles["vault"] = "unavailable"
        await asyncio.sleep(HEALTH_SECONDS)


async def _or_die(work: Coroutine[Any, Any, Any]) -> None:
    """A gate that lost one of its parts ends; the supervisor starts a clean one."""
    try:
        await work
    except Exception as error:
        log.error("background_task_died", error)
        os.kill(os.getpid(), signal.SIGTERM)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _readyz(request: Request) -> Response:
    troubles = request.app.state.runtime.troubles
    return JSONResponse({"troubles": troubles}, 503 if troubles else 200)


async def _barrier(request: Request) -> dict[str, Any]:
    runtime = request.app.state.runtime
    async with runtime.transaction(NAME) as tx:
        return {"outbox": 0, "due": None, "busy": await work_in_hand(tx)}


def main() -> None:
    """`python -m outreach gate`."""
    arm_this_process()
    settings, shared = GateSettings(), Shared()
    configure_logging(NAME)
    configure_tracing(NAME, shared.trace_ratio, shared.spans_dir)
    listen(create_app(settings, shared), settings)
