"""The service's real database, without Kafka."""

from hypothesis import settings

from phi_common.testing import clock, runtime_fixture

__all__ = ["clock"]

runtime = runtime_fixture("patient-profile")

# Properties say what holds, not how fast: a busy machine must not fail them.
settings.register_profile("careloop", deadline=None)
settings.load_profile("careloop")
