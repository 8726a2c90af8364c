"""Alembic's entry point."""

from consent.storage import metadata
from phi_common.db import run_migrations

run_migrations(metadata)
