"""The consent service's own database, for its tests."""

from phi_common.testing import clock, runtime_fixture

runtime = runtime_fixture("consent")

__all__ = ["clock", "runtime"]
