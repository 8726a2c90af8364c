"""Alembic's entry point."""

from outreach.storage import metadata
from phi_common.db import run_migrations

run_migrations(metadata)
