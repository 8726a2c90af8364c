"""What the service consists of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from outreach import api, consumers, storage
from outreach.templates import library
from phi_common.runtime import Runtime
from phi_common.service import Service


@asynccontextmanager
async def ready(runtime: Runtime) -> AsyncIterator[None]:
    """Bad texts stop the start; the secret that carriers sign with is there before their first report."""
    library()
    api.SIGNING[runtime] = (await runtime.vault.secret("webhook/sms"))["secret"].encode()
    yield
    del api.SIGNING[runtime]


async def in_hand(runtime: Runtime) -> int:
    """Deliveries under way, for the virtual clock."""
    async with runtime.transaction(runtime.name) as tx:
        return await storage.work_in_hand(tx)


SERVICE = Service(
    "outreach",
    subscriptions=consumers.SUBSCRIPTIONS,
    sweeps=consumers.SWEEPS,
    router=api.router,
    lifespans=(ready,),
    busy=in_hand,
)
