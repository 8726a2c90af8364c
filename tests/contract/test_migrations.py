"""The migrations of each service lead to the tables that its code works with, nothing more and nothing less."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from house import SERVICES, Member

from phi_common.testing import admin, migrated

pytestmark = pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")

COMPARED = {"compare_type": True, "compare_server_default": True}
DEFINITIONS = """
SELECT indexdef FROM pg_indexes WHERE schemaname = :schema
UNION SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
      WHERE connamespace = CAST(:schema AS regnamespace) AND contype <> 'n'
"""


@pytest.fixture(params=SERVICES, ids=lambda member: member.name)
def service(request: Any) -> Member:
    return request.param


@contextmanager
def transaction(service: Member) -> Iterator[sa.Connection]:
    """On the migrated database, and never committed."""
    migrated(service.name)
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: admin(service.package, autocommit=False))
    with engine.connect() as found:
        yield found
    engine.dispose()


@pytest.fixture
def connection(service: Member) -> Iterator[sa.Connection]:
    with transaction(service) as found:
        yield found


def differences(connection: sa.Connection, metadata: sa.MetaData) -> list[Any]:
    """What a new migration would have to change."""
    return compare_metadata(MigrationContext.configure(connection, opts=COMPARED), metadata)


def definitions(connection: sa.Connection, schema: str) -> set[str]:
    """Indexes and constraints in full; Alembic compares no conditions and no checks."""
    found = connection.execute(sa.text(DEFINITIONS), {"schema": schema}).scalars()
    return {text.replace(f"{schema}.", "") for text in found if "alembic_version" not in text}


def drift(connection: sa.Connection, metadata: sa.MetaData) -> set[str]:
    """Definitions that only the migrations have, or only the code, which makes its tables beside them."""
    connection.execute(sa.text("CREATE SCHEMA beside"))
    connection.execute(sa.text("SET LOCAL search_path = beside"))
    metadata.create_all(connection, checkfirst=False)
    return definitions(connection, "public") ^ definitions(connection, "beside")


def metadata_of(service: Member) -> sa.MetaData:
    found: sa.MetaData = importlib.import_module(f"{service.package}.storage").metadata
    return found


def test_the_migrated_database_is_what_the_code_works_with(service, connection):
    assert differences(connection, metadata_of(service)) == []
    assert drift(connection, metadata_of(service)) == set()


def test_there_is_one_line_of_migrations(service):
    names = sorted(path.name for path in (service.source / "migrations" / "versions").glob("*.py"))
    found = [importlib.import_module(f"{service.package}.migrations.versions.{name[:-3]}") for name in names]
    assert [each.down_revision for each in found] == [None, *(each.revision for each in found[:-1])]


def test_no_migration_is_made_from_the_tables_of_today(service):
    """It would change with them: new databases had the column, and those that are there already had not."""
    for path in (service.source / "migrations" / "versions").glob("*.py"):
        assert "storage" not in path.read_text()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE inbox ADD COLUMN planted text",
        "ALTER TABLE inbox DROP COLUMN at",
        "ALTER TABLE outbox ALTER COLUMN partition TYPE bigint",
        "ALTER TABLE answers ALTER COLUMN status DROP NOT NULL",
        "ALTER TABLE subjects ALTER COLUMN version DROP DEFAULT",
        "ALTER TABLE dead_letters DROP CONSTRAINT uq_dead_letters_event_id",
        "DROP INDEX ix_audit_xid",
        "DROP TABLE patient_keys",
        "CREATE TABLE planted (id int)",
    ],
)
def test_the_check_itself_finds_a_difference(service, connection, change):
    connection.execute(sa.text(change))
    assert differences(connection, metadata_of(service))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("outreach", "ALTER TABLE deliveries DROP CONSTRAINT ck_deliveries_state"),
        ("outreach", "DROP INDEX ix_reviews_open; CREATE INDEX ix_reviews_open ON reviews (opened_at)"),
        ("consent", "DROP INDEX ix_inbox_at; CREATE INDEX ix_inbox_at ON inbox (at)"),
    ],
)
def test_the_check_itself_finds_another_condition(name, change):
    [service] = [member for member in SERVICES if member.name == name]
    with transaction(service) as connection:
        connection.execute(sa.text(change))
        assert drift(connection, metadata_of(service))


def test_a_column_planted_in_the_code_is_found(service, connection):
    planted = sa.MetaData(naming_convention=metadata_of(service).naming_convention)
    for table in metadata_of(service).tables.values():
        table.to_metadata(planted)
    planted.tables["subjects"].append_column(sa.Column("planted", sa.Text))
    [found] = differences(connection, planted)
    assert (found[0], found[2], found[3].name) == ("add_column", "subjects", "planted")
