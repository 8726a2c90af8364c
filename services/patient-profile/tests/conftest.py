"""The service's real database, without Kafka."""

from phi_common.testing import clock, runtime_fixture

__all__ = ["clock"]

runtime = runtime_fixture("patient-profile")
