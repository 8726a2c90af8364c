from phi_common.db import run_migrations

"""Alembic's entry point."""

from consent.storage import metadata

run_migrations(metadata)
