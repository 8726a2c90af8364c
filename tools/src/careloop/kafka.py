"""A private Apache Kafka (KRaft): SCRAM over TLS for clients, mutual TLS for its controller, the event map's topics."""

import asyncio
import base64
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from careloop import topics
from careloop.certificates import Authority, Leaf
from careloop.paths import ROOT, STATE, write_secret
from careloop.processes import StartFailed, base_env, run, wait_until
from careloop.supervisor import Child, Supervisor
from phi_common.topics import PARTITIONS, TOPICS

ADMIN = "admin"
Offsets = dict[TopicPartition, int]
SETTINGS = """
process.roles=broker,controller
node.id=1
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
  required username="{admin}" password="{password}";
listener.name.controller.ssl.client.auth=required
ssl.enabled.protocols=TLSv1.3,TLSv1.2
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={ca_file}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{admin};User:CN=kafka
log.dirs={folder}/log
auto.create.topics.enable=false
delete.topic.enable=true
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.bytes=67108864
num.network.threads=3
num.io.threads=4
"""
LOGGING = """<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %-5p %c{1}: %m%n"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


@dataclass(frozen=True)
class Kafka:
    """Where the broker is, and its administrator."""

    port: int
    ca_file: Path
    admin_password: str

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def client_settings(self, user: str = ADMIN, password: str | None = None) -> dict[str, str]:
        """What a librdkafka client needs to log in."""
        return {
            "bootstrap.servers": self.address,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password or self.admin_password,
            "ssl.ca.location": str(self.ca_file),
        }

    def aio_settings(self) -> dict[str, Any]:
        """What an aiokafka client of the administrator needs to log in."""
        return {
            "bootstrap_servers": self.address,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": ADMIN,
            "sasl_plain_password": self.admin_password,
            "ssl_context": ssl.create_default_context(cafile=self.ca_file),
        }

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """A client that may do anything."""
        client = AIOKafkaAdminClient(**self.aio_settings())
        await client.start()
        try:
            yield client
        finally:
            await client.close()


def jars() -> Path:
    """The folder with the broker's jars, fetched by Maven once for each version of the POM."""
    folder, pom = STATE / "kafka", ROOT / "deploy" / "kafka" / "pom.xml"
    STATE.mkdir(exist_ok=True)
    with (STATE / "kafka.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        stamp = folder / "pom.xml"
        if not stamp.exists() or stamp.read_bytes() != pom.read_bytes():
            _fetch(folder, pom)
            stamp.write_bytes(pom.read_bytes())
    return folder


def _fetch(folder: Path, pom: Path) -> None:
    print("fetching Kafka with Maven", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    if not os.access(pwd.getpwuid(os.getuid()).pw_dir, os.W_OK):
        goal.append(f"-Dmaven.repo.local={STATE / 'm2'}")
    done = subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartFailed(f"Maven could not fetch Kafka:\n{done.stdout[-2000:]}{done.stderr[-500:]}")


def start(
    supervisor: Supervisor,
    authority: Authority,
    ports: tuple[int, int],
    admin_password: str,
    passwords: Mapping[str, str],
) -> Kafka:
    """Format the storage with the principals in it, run the broker, and make topics and ACLs."""
    folder = supervisor.data / "kafka"
    folder.mkdir(mode=0o700)
    _write_files(folder, authority.issue("kafka"), authority.ca_file, ports, admin_password)
    users = {ADMIN: admin_password, **passwords}
    scram = [f"--add-scram\nSCRAM-SHA-512=[name={name},password={word}]" for name, word in users.items()]
    write_secret(folder / "users", "\n".join(scram) + "\n")
    java = ["java", f"-Dlog4j2.configurationFile={folder}/log4j2.xml", "-cp", f"{jars()}/*"]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]
    settings = folder / "server.properties"
    format_storage: list[str | Path] = ["format", "-t", cluster, "-c", settings, f"@{folder}/users"]
    log = supervisor.run.logs / "kafka.log"
    run([*java[:1], *quick, *java[1:], "kafka.tools.StorageTool", *format_storage], log, env=base_env())
    (folder / "users").unlink()
    command: list[str | Path] = [*java[:1], "-Xmx512m", "-XX:+UseG1GC", *java[1:], "kafka.Kafka", settings]
    supervisor.start(Child("kafka", lambda: command, base_env, stop_signal=signal.SIGKILL))
    broker = Kafka(ports[0], authority.ca_file, admin_password)
    _make_topics(broker, supervisor)
    return broker


def _write_files(folder: Path, leaf: Leaf, ca_file: Path, ports: tuple[int, int], admin_password: str) -> None:
    (folder / "log4j2.xml").write_text(LOGGING)
    write_secret(folder / "keystore.pem", leaf.key.read_text() + leaf.certificate.read_text())
    text = SETTINGS.format(
        port=ports[0],
        controller_port=ports[1],
        admin=ADMIN,
        password=admin_password,
        folder=folder,
        ca_file=ca_file,
    )
    write_secret(folder / "server.properties", text)


def _make_topics(broker: Kafka, supervisor: Supervisor) -> None:
    if not wait_until(lambda: _listens(broker.port), 60):
        raise StartFailed("Kafka does not answer", supervisor.run.logs / "kafka.log")
    try:
        topics.apply(broker.client_settings(), TOPICS, topics.acls(TOPICS.values()))
    except subprocess.SubprocessError as failed:
        raise StartFailed(f"Kafka refused its topics: {failed}", supervisor.run.logs / "kafka.log") from None
    asyncio.run(_wait_for_groups(broker))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _wait_for_groups(broker: Kafka) -> None:
    """Asking for a group's offsets makes the broker create the offsets topic; it is ready when it answers."""
    deadline = time.monotonic() + 30
    async with broker.admin() as admin:
        while True:
            try:
                await admin.list_consumer_group_offsets("careloop-launcher")
                return
            except KafkaError:
                if time.monotonic() > deadline:
                    raise StartFailed("Kafka has no offsets topic") from None
                await asyncio.sleep(0.1)


class OffsetReader:
    """Sees how far topics and groups have come."""

    def __init__(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        """With clients that are connected."""
        self._admin, self._consumer = admin, consumer
        self._partitions = [TopicPartition(name, n) for name in TOPICS for n in range(PARTITIONS)]

    async def ends(self) -> Offsets:
        """The end of each partition of the event map."""
        return dict(await self._consumer.end_offsets(self._partitions))

    async def committed(self, group: str) -> Offsets:
        """How far a group has durably come."""
        found = await self._admin.list_consumer_group_offsets(group)
        return {where: what.offset for where, what in found.items()}


@asynccontextmanager
async def offset_reader(broker: Kafka) -> AsyncIterator[OffsetReader]:
    """A reader with connections of its own."""
    async with broker.admin() as admin:
        consumer = AIOKafkaConsumer(**broker.aio_settings(), retry_backoff_ms=10)
        try:
            await consumer.start()
            yield OffsetReader(admin, consumer)
        finally:
            await consumer.stop()
