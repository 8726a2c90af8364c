"""The composition root."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest_fhir import consumers
from ingest_fhir.api import router
from ingest_fhir.desk import desk_of
from ingest_fhir.hl7v2 import Interface
from ingest_fhir.mllp import Limits, Receiver, listening
from ingest_fhir.settings import Settings
from phi_common.runtime import Runtime
from phi_common.service import Service


def tls_of(settings: Settings) -> ssl.SSLContext:
    """TLS for MLLP, with the certificate that HTTPS has too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert settings.tls_cert_file is not None
    context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    if settings.mllp_client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.mllp_client_ca_file)
    return context


@asynccontextmanager
async def mllp(runtime: Runtime) -> AsyncIterator[None]:
    """The MLLP door, open while the service runs."""
    settings = runtime.settings
    assert isinstance(settings, Settings)
    host, _, port = settings.mllp_listen.rpartition(":")
    receiver = Receiver(
        desk_of(runtime), Interface(settings.mllp_charset, settings.sources, settings.facilities), runtime.now
    )
    limits = Limits(idle_seconds=settings.mllp_idle_seconds, connections=settings.mllp_connections)
    async with listening(host, int(port), tls_of(settings), receiver.respond, receiver.too_long, limits):
        yield


SERVICE = Service("ingest-fhir", subscriptions=(consumers.erasures,), router=router, lifespans=(mllp,))
