"""Every cell of who may reach what: PostgreSQL roles, Kafka principals, OpenBao roles, against the topic table."""

import time
import uuid
from functools import cache
from typing import Any

import hvac
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from phi_common.testing import system
from phi_common.topics import TOPICS

SERVICES = ("care-gap-engine", "consent", "ingest-fhir", "outreach", "patient-profile")
PRINCIPALS = (*SERVICES, "outreach-gate")
TOPIC_NAMES = tuple(TOPICS)


def test_the_lists_above_are_those_of_this_run():
    found = {p["name"] for p in system()["principals"]}
    assert found == set(PRINCIPALS)


# -- PostgreSQL


def connect(role: str, database: str) -> psycopg.Connection[Any]:
    found = system()["postgres"]
    host, _, port = found["address"].rpartition(":")
    return psycopg.connect(
        host=host, port=int(port), dbname=database, user=role, password=found["roles"][role],
        sslmode="verify-full", sslrootcert=system()["ca_file"], connect_timeout=5,
    )  # fmt: skip


@pytest.mark.parametrize("database", [name.replace("-", "_") for name in SERVICES])
@pytest.mark.parametrize("role", [name.replace("-", "_") for name in PRINCIPALS])
def test_a_role_reaches_its_own_database_only(role, database):
    if role == database or (role, database) == ("outreach_gate", "outreach"):
        connect(role, database).close()
    else:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(role, database)


def test_plain_text_is_refused_by_postgresql():
    found = system()["postgres"]
    host, _, port = found["address"].rpartition(":")
    with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
        psycopg.connect(
            host=host, port=int(port), dbname="consent", user="consent",
            password=found["roles"]["consent"], sslmode="disable",
        )  # fmt: skip


# -- Kafka


def client_settings(user: str) -> dict[str, Any]:
    found = system()["kafka"]
    password = found["password"] if user == found["admin"] else found["users"][user]
    return {
        "bootstrap.servers": found["address"], "security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": user, "sasl.password": password, "ssl.ca.location": system()["ca_file"],
        "log_level": 0,
    }  # fmt: skip


@pytest.mark.parametrize("user", SERVICES)
def test_a_principal_writes_its_own_topics_only(user):
    refused = {}
    producer = Producer(client_settings(user) | {"message.timeout.ms": 8000})
    for topic in TOPIC_NAMES:
        # a record of no known type: readers skip it
        producer.produce(
            topic, key=str(uuid.uuid4()), value=b"", headers=[("ce_type", b"Probe.v0")],
            on_delivery=lambda error, message, topic=topic: refused.update({topic: error is not None}),
        )  # fmt: skip
    producer.flush(20)
    assert refused == {topic: TOPICS[topic].writer != user for topic in TOPIC_NAMES}


@pytest.fixture(scope="module")
def probes() -> None:
    """A record of no known type at the start of each topic's first partition, for somebody allowed to find."""
    found = system()["kafka"]
    producer = Producer(client_settings(found["admin"]))
    for topic in TOPIC_NAMES:
        producer.produce(topic, partition=0, key=str(uuid.uuid4()), value=b"", headers=[("ce_type", b"Probe.v0")])
    assert producer.flush(20) == 0


@pytest.mark.parametrize("user", SERVICES)
def test_a_principal_reads_the_topics_it_is_listed_for(user, probes):
    consumer = Consumer(client_settings(user) | {"group.id": user, "enable.auto.commit": False})
    seen = set()
    try:
        consumer.assign([TopicPartition(topic, 0, 0) for topic in TOPIC_NAMES])
        end = time.monotonic() + 3
        while time.monotonic() < end:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                seen.add(message.topic())
    finally:
        consumer.close()
    assert seen == {topic for topic in TOPIC_NAMES if user in TOPICS[topic].readers}


def test_a_wrong_password_is_refused_by_kafka():
    producer = Producer(client_settings("consent") | {"sasl.password": "wrong", "message.timeout.ms": 3000})
    errors = []
    producer.produce("careloop.consent.preferences", b"", on_delivery=lambda error, message: errors.append(error))
    producer.flush(6)
    assert errors
    assert errors[0] is not None


# -- OpenBao


@cache
def logged_in(principal: str) -> hvac.Client:
    vault = system()["vault"]
    launcher = hvac.Client(url=vault["address"], token=vault["token"], verify=system()["ca_file"], timeout=5)
    wrapped = launcher.auth.approle.generate_secret_id(principal, wrap_ttl="60s")["wrap_info"]["token"]
    unwrapping = hvac.Client(url=vault["address"], token=wrapped, verify=system()["ca_file"], timeout=5)
    secret_id = unwrapping.sys.unwrap()["data"]["secret_id"]
    client = hvac.Client(url=vault["address"], verify=system()["ca_file"], timeout=5)
    client.auth.approle.login(vault["role_ids"][principal], secret_id)
    return client


def allowed(principal: str, path: str, **data: Any) -> bool:
    """Whether the server took the request as permitted; a permitted one may still fail on its made-up content."""
    try:
        logged_in(principal).write_data(path, data=data)
    except hvac.exceptions.Forbidden:
        return False
    except hvac.exceptions.InvalidRequest:
        return True
    return True


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("topic", TOPIC_NAMES)
def test_a_topic_key_serves_its_writer_and_readers(principal, topic):
    key = TOPICS[topic].key
    assert allowed(principal, f"transit/datakey/plaintext/{key}") is (TOPICS[topic].writer == principal)
    assert allowed(principal, f"transit/decrypt/{key}", ciphertext="vault:v1:AA") is (
        principal in TOPICS[topic].readers
    )


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("owner", SERVICES)
def test_keys_at_rest_serve_their_own_service(principal, owner):
    makes = principal == owner
    opens = makes or (principal, owner) == ("outreach-gate", "outreach")
    assert allowed(principal, f"transit/datakey/plaintext/bucket-{owner}") is makes
    assert allowed(principal, f"transit/decrypt/bucket-{owner}", ciphertext="vault:v1:AA") is opens
    assert allowed(principal, f"transit/decrypt/index-{owner}", ciphertext="vault:v1:AA") is makes


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_secrets_are_read_by_those_who_need_them(principal):
    webhook = {"outreach", "consent"}
    wanted = {f"db/{name}": principal == name for name in PRINCIPALS}
    wanted |= {f"kafka/{name}": principal == name for name in SERVICES}
    wanted |= {"provider/sms": principal == "outreach-gate", "webhook/sms": principal in webhook}
    found = {}
    for path in wanted:
        try:
            logged_in(principal).secrets.kv.v2.read_secret_version(
                path, mount_point="kv", raise_on_deleted_version=True
            )
            found[path] = True
        except hvac.exceptions.Forbidden:
            found[path] = False
    assert found == wanted


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("path", ["sys/policies/acl/x", "auth/approle/role/consent/secret-id", "transit/keys/new"])
def test_nobody_administers(principal, path):
    assert not allowed(principal, path, policy="")
