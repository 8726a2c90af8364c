"""A private PostgreSQL: TLS and SCRAM only, a database for each service, roles that cannot enter another's."""

import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from careloop.certificates import Authority
from careloop.paths import GATE, write_secret
from careloop.processes import StartFailed, base_env, run
from careloop.supervisor import Child, Supervisor

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = {port}
max_connections = 200
shared_buffers = 768MB
wal_compression = on
max_wal_size = 4GB
checkpoint_timeout = 15min
autovacuum_naptime = 10s
dynamic_shared_memory_type = mmap
fsync = on
password_encryption = scram-sha-256
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
ssl_min_protocol_version = 'TLSv1.2'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_min_error_statement = panic
log_error_verbosity = terse
"""
ACCESS = "hostssl all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class Postgres:
    """Where the server is, and its administrator."""

    port: int
    ca_file: Path
    admin_password: str

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """A connection of the administrator, each statement its own transaction."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user="postgres",
            password=self.admin_password,
            sslmode="verify-full",
            sslrootcert=str(self.ca_file),
            connect_timeout=5,
            autocommit=True,
            **options,
        )


def binaries() -> Path:
    """The folder of the newest PostgreSQL server (15 or later) on this machine."""
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    newest = sorted(folders, key=lambda path: -int(path.parent.name))
    on_path = shutil.which("initdb")
    for folder in [*newest, *([Path(on_path).resolve().parent] if on_path else [])]:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise StartFailed("no PostgreSQL server found; on Debian: apt-get install postgresql")


def start(supervisor: Supervisor, authority: Authority, port: int, admin_password: str) -> Postgres:
    """Make a new cluster, run it, and wait until it answers."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = supervisor.data / "postgres"
    cluster = folder / "cluster"
    folder.mkdir(mode=0o700)
    password = write_secret(folder / "password", admin_password)
    leaf = authority.issue("postgres")
    files = [shutil.copy(leaf.certificate, folder / "server.pem"), shutil.copy(leaf.key, folder / "server.key")]
    for path in (folder, password, *files):
        if user:
            shutil.chown(path, user, user)
    how = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync"]
    initdb: list[str | Path] = [binaries() / "initdb", "-D", cluster, "-U", "postgres", f"--pwfile={password}", *how]
    run(initdb, supervisor.run.logs / "postgres.log", env=base_env(), user=user)
    password.unlink()
    for name in ("server.pem", "server.key"):
        (folder / name).rename(cluster / name)
    with (cluster / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS.format(port=port))
    (cluster / "pg_hba.conf").write_text(ACCESS)
    supervisor.start(
        Child(
            "postgres",
            lambda: [binaries() / "postgres", "-D", cluster],
            base_env,
            user=user,
            stop_signal=signal.SIGQUIT,
            parent_death_signal=signal.SIGQUIT,
        )
    )
    server = Postgres(port, authority.ca_file, admin_password)
    _wait(server, supervisor)
    return server


def _wait(server: Postgres, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise StartFailed("PostgreSQL does not answer", supervisor.run.logs / "postgres.log") from None
            time.sleep(0.05)


def create_databases(server: Postgres, databases: Iterable[str], passwords: Mapping[str, str]) -> None:
    """One for each service; its owner migrates it, its role uses it, the gate's role shares that of outreach."""
    gate = GATE.replace("-", "_")
    with server.connect() as connection:
        for name in databases:
            owner, users = f"{name}_owner", [name, *([gate] if name == "outreach" else [])]
            for role in (owner, *users):
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                connection.execute(create.format(sql.Identifier(role), sql.Literal(passwords[role])))
            database = sql.Identifier(name)
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(owner)))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            for role in users:
                connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))
        for name in ("postgres", "template1"):
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
