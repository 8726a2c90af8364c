"""What consent keeps, and every query on it."""

from consent.storage.tables import metadata

__all__ = ["metadata"]
