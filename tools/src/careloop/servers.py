"""PostgreSQL, Kafka and OpenBao of one run, started side by side, with all that they must know about our programs."""

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from careloop import kafka, openbao, postgres
from careloop.certificates import Authority
from careloop.kafka import Kafka
from careloop.openbao import OpenBao
from careloop.paths import programs, services, write_secret
from careloop.postgres import Postgres
from careloop.processes import free_ports
from careloop.state import Run
from careloop.supervisor import Supervisor
from phi_common.topics import TOPICS

PORTS = ("postgres", "kafka", "kafka-controller", "openbao", "openbao-cluster", "issuer", "simulator", "mllp")


@dataclass(frozen=True)
class Passwords:
    """All secrets of a run; none is used twice."""

    postgres_admin: str
    kafka_admin: str
    database: dict[str, str]
    kafka: dict[str, str]
    provider: dict[str, str]
    webhook: str

    @classmethod
    def fresh(cls) -> "Passwords":
        """New random secrets for every principal."""
        roles = [program.role for program in programs()] + [f"{program.module}_owner" for program in services()]
        users = {program.name for program in services()} | {topic.writer for topic in TOPICS.values()}
        return cls(
            postgres_admin=secrets.token_urlsafe(24),
            kafka_admin=secrets.token_urlsafe(24),
            database={role: secrets.token_urlsafe(24) for role in roles},
            kafka={user: secrets.token_urlsafe(24) for user in sorted(users)},
            provider={"account": f"AC{secrets.token_hex(8)}", "token": secrets.token_urlsafe(24)},
            webhook=secrets.token_urlsafe(24),
        )

    def kv(self) -> dict[str, dict[str, str]]:
        """What OpenBao's key-value store says to each principal."""
        database = {f"db/{program.name}": {"password": self.database[program.role]} for program in programs()}
        users = {f"kafka/{name}": {"password": word} for name, word in self.kafka.items()}
        return {**database, **users, "provider/sms": self.provider, "webhook/sms": {"secret": self.webhook}}


@dataclass
class Servers:
    """The three servers, ready."""

    run: Run
    supervisor: Supervisor
    authority: Authority
    passwords: Passwords
    ports: dict[str, int]
    postgres: Postgres
    kafka: Kafka
    openbao: OpenBao

    @property
    def tls(self) -> Path:
        """The folder of certificates."""
        return self.authority.folder

    def describe(self) -> dict[str, Any]:
        """All that a test, or another `./careloop` command, needs in order to work with these servers."""
        return {
            "ca_file": str(self.authority.ca_file),
            "postgres": {"address": self.postgres.address, "port": self.postgres.port, "admin": "postgres"}
            | {"password": self.passwords.postgres_admin, "roles": self.passwords.database},
            "kafka": {"address": self.kafka.address, "port": self.kafka.port, "admin": kafka.ADMIN}
            | {"password": self.passwords.kafka_admin, "users": self.passwords.kafka},
            "vault": {"address": self.openbao.address, "port": self.openbao.port, "token": self.openbao.token}
            | {"role_ids": dict(self.openbao.role_ids)},
            "kv": self.passwords.kv(),
            "principals": [asdict(program) for program in programs()],
        }


@contextmanager
def servers(kind: str) -> Iterator[Servers]:
    """Run the three servers for the length of a `with`, then end them and all that was started after them."""
    run = Run.begin(kind)
    supervisor = Supervisor(run)
    try:
        yield _start(run, supervisor)
    finally:
        supervisor.stop_all()
        run.end()


def _start(run: Run, supervisor: Supervisor) -> Servers:
    folder = run.data / "tls"
    folder.mkdir(mode=0o711)
    authority = Authority(folder)
    authority.ca_file.chmod(0o644)
    words = Passwords.fresh()
    names = [*PORTS, *(program.name for program in programs())]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    with ThreadPoolExecutor(3) as pool:
        kafka_ports = (ports["kafka"], ports["kafka-controller"])
        vault_ports = (ports["openbao"], ports["openbao-cluster"])
        broker = pool.submit(kafka.start, supervisor, authority, kafka_ports, words.kafka_admin, words.kafka)
        vault = pool.submit(openbao.start, supervisor, authority, vault_ports, programs(), words.kv())
        database = pool.submit(_start_postgres, supervisor, authority, ports["postgres"], words)
        parts = (database.result(), broker.result(), vault.result())
    supervisor.watch()
    return Servers(run, supervisor, authority, words, ports, *parts)


def _start_postgres(supervisor: Supervisor, authority: Authority, port: int, words: Passwords) -> Postgres:
    server = postgres.start(supervisor, authority, port, words.postgres_admin)
    postgres.create_databases(server, [program.module for program in services()], words.database)
    return server


def export(found: Servers) -> Path:
    """The description as a file that only the owner can read."""
    return write_secret(found.run.data / "system.json", json.dumps(found.describe(), indent=1))
