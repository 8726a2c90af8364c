"""Alembic's entry."""

from patient_profile.storage import metadata
from phi_common.db import run_migrations

run_migrations(metadata)
