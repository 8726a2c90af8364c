"""A runtime of this service on its real database."""

from phi_common.testing import clock, runtime_fixture

__all__ = ["clock", "runtime"]

runtime = runtime_fixture("ingest-fhir")
