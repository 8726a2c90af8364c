"""How a service is put together and run: `SERVICE = Service(...)` in `main.py`, `run(SERVICE, Settings)` to start."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse

from phi_common import metrics, problem
from phi_common.auth import Authenticator, Principal, requires
from phi_common.db import connection_options
from phi_common.eventing import dead_letters
from phi_common.eventing.accept import Unavailable
from phi_common.eventing.consume import TRANSIENT, Subscription
from phi_common.eventing.sweep import Sweep
from phi_common.front import Front, plain_routes
from phi_common.logs import configure_logging, log
from phi_common.runtime import Runtime
from phi_common.settings import CommonSettings, Shared
from phi_common.telemetry import configure_tracing, flush_tracing
from phi_common.transaction import Tx

DEAD_LETTERS_READ = "dead-letters:read"
DEAD_LETTERS_REDRIVE = "dead-letters:redrive"
Lifespan = Callable[[Runtime], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Service:
    """What a service consists of."""

    name: str
    subscriptions: Sequence[Subscription] = ()
    sweeps: Sequence[Sweep] = ()
    router: APIRouter | None = None
    lifespans: Sequence[Lifespan] = ()
    busy: Callable[[Runtime], Awaitable[int]] | None = None
    """Work in hand that neither outbox nor topics show, for the virtual clock."""


def create_app(service: Service, settings: CommonSettings, shared: Shared) -> FastAPI:
    """The composition root: routes, and in the lifespan everything that runs beside them."""
    runtime = Runtime(service.name, settings, shared)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await _start(service, runtime, stack)
            settle_garbage_collection()
            yield

    app = FastAPI(title=service.name, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.runtime = runtime
    app.state.authenticator = Authenticator(shared.issuer, shared.audience, shared.ca_file, shared.roles_file)
    problem.install(app)
    for away in (*TRANSIENT, Unavailable):
        app.add_exception_handler(away, _unavailable)
    if service.router:  # first, since routes are matched in order and these are the busy ones
        app.include_router(service.router)
    app.include_router(plumbing_routes(service))
    return app


def settle_garbage_collection() -> None:
    """Leave what a service consists of out of every later collection: walking it took up to a fifth of a busy one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def with_front(service: Service, app: FastAPI) -> FastAPI | Front:
    """The application as it is served."""
    return Front(app, plain_routes(service.router)) if service.router else app


async def _unavailable(_: Request, error: Exception) -> Response:
    log.warning("request_unavailable", error)
    return problem.Problem(503, "Not available now", headers={"Retry-After": "2"}).response()


async def _start(service: Service, runtime: Runtime, stack: AsyncExitStack) -> None:
    await runtime.connect()
    stack.callback(runtime.vault.close)
    stack.push_async_callback(runtime.db.engine.dispose)
    await runtime.open_keys(create=True)
    await runtime.start_eventing(service.subscriptions)
    beside: list[Coroutine[Any, Any, Any]] = [
        runtime.vault.renew(),
        runtime.check_for_ever(),
        runtime.watch_lag(),
    ]
    if runtime.relay:
        beside.append(runtime.relay.run())
    if runtime.consumer:
        stack.push_async_callback(runtime.consumer.stop)
        beside += [runtime.consumer.run(), runtime.consumer.commit_for_ever()]
    if service.sweeps:
        beside.append(runtime.sweep_for_ever(service.sweeps))
    for work in beside:
        stack.push_async_callback(_end, _guarded(work))
    for extra in service.lifespans:
        await stack.enter_async_context(extra(runtime))
    stack.callback(flush_tracing)


def _guarded(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[None]":
    """A background task whose unexpected end ends the process: the supervisor starts a clean one."""

    async def guard() -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.error("background_task_died", error)
            os.kill(os.getpid(), signal.SIGTERM)

    return asyncio.create_task(guard())


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def plumbing_routes(service: Service) -> APIRouter:
    """Health, metrics, the clock's barrier, and the dead letters of this service."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> Response:
        return Response(status_code=204)

    @router.get("/readyz")
    async def readyz(request: Request) -> Response:
        troubles = request.app.state.runtime.troubles
        return JSONResponse({"troubles": troubles}, 503 if troubles else 200)

    @router.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)

    @router.get("/barrier")
    async def barrier(request: Request) -> Response:
        return JSONResponse(await _barrier(service, request.app.state.runtime))

    @router.get("/dead-letters")
    async def waiting(request: Request, principal: Annotated[Principal, Depends(requires(DEAD_LETTERS_READ))]) -> Any:
        async with request.app.state.runtime.transaction(principal.subject) as tx:
            tx.audit(DEAD_LETTERS_READ, None)
            return await dead_letters.listing(tx)

    @router.post("/dead-letters/redrive")
    async def redrive(
        request: Request,
        principal: Annotated[Principal, Depends(requires(DEAD_LETTERS_REDRIVE))],
        idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
    ) -> dict[str, int]:
        return await _redrive(service, request, principal, idempotency_key)

    return router


async def _redrive(service: Service, request: Request, principal: Principal, key: str) -> dict[str, int]:
    """Once per key. A letter is applied once in any case: cut short, the same key goes on with those that are left."""
    runtime: Runtime = request.app.state.runtime

    async def work(tx: Tx) -> tuple[int, dict[str, int]]:
        applied = {s.topic: await s.redrive(runtime, principal.subject) for s in service.subscriptions}
        tx.audit(DEAD_LETTERS_REDRIVE, None, str(sum(applied.values())))
        return 200, applied

    what = request.url.path.encode() + b"\n" + await request.body()
    _, answer = await runtime.idempotent(principal, key, what, work)
    return dict(answer)


async def _barrier(service: Service, runtime: Runtime) -> dict[str, Any]:
    """For a virtual clock: what still has to happen before time may go on, and when something is due."""
    async with runtime.transaction(service.name) as tx:
        ((rows,),) = await tx.rows("SELECT count(*) FROM outbox")
        dues = [await sweep.next_due(tx) for sweep in service.sweeps if sweep.next_due]
    busy = runtime.in_hand + (await service.busy(runtime) if service.busy else 0)
    due = min((instant for instant in dues if instant), default=None)
    if due is not None and due <= runtime.now():
        busy += 1
    return {"outbox": rows, "due": due.isoformat() if due else None, "busy": busy}


def migrate(service: Service, settings: CommonSettings, shared: Shared) -> None:
    """Bring the database up to date, as its owner; a job's work, never a serving process's."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    package = service.name.replace("-", "_")
    host, _, port = shared.postgres.rpartition(":")
    url = sa.URL.create("postgresql+psycopg", f"{package}_owner", settings.migrate_password, host, int(port), package)
    engine = sa.create_engine(
        url.update_query_dict(connection_options(shared.ca_file)),
        hide_parameters=True,
    )
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()


def run(service: Service, settings: type[CommonSettings]) -> None:
    """The command line of every service: `serve` or `migrate`."""
    parser = argparse.ArgumentParser(prog=f"python -m {service.name.replace('-', '_')}")
    parser.add_argument("command", choices=["serve", "migrate"])
    chosen = parser.parse_args(sys.argv[1:2])
    own, shared = settings(), Shared()
    configure_logging(service.name)
    if chosen.command == "migrate":
        migrate(service, own, shared)
        return
    configure_tracing(service.name, shared.trace_ratio, shared.spans_dir)
    listen(with_front(service, create_app(service, own, shared)), own)


def listen(app: FastAPI | Front, settings: CommonSettings) -> None:
    """Serve over TLS until told to stop."""
    import uvicorn

    host, port = settings.address
    uvicorn.run(
        app, host=host, port=port, loop="uvloop", http="httptools", access_log=False, log_config=None,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=5,
        ssl_certfile=settings.tls_cert_file, ssl_keyfile=settings.tls_key_file,
    )  # fmt: skip
