"""What Alembic runs."""

from ingest_fhir.storage import metadata
from phi_common.db import run_migrations

run_migrations(metadata)
