"""Alembic's entry."""

from care_gap_engine.storage import metadata
from phi_common.db import run_migrations

run_migrations(metadata)
