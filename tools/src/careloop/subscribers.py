"""Programs outside CareLoop that may read named topics: a Kafka principal and an OpenBao role each."""

import re
import secrets
from pathlib import Path
from typing import Any

import hvac

from careloop import topics as kafka_topics
from careloop.kafka import Kafka
from careloop.openbao import OpenBao, reader_policy, role_terms
from careloop.processes import StartFailed
from phi_common.topics import TOPICS

PREFIX = "subscriber-"


def add(record: dict[str, Any], name: str, topics: list[str]) -> dict[str, Any]:
    """Make the subscriber; the answer is all that it needs but its password, which waits for it in OpenBao."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
        raise StartFailed("a subscriber's name has lower-case letters, digits and hyphens")
    unknown = [topic for topic in topics if topic not in TOPICS]
    if unknown:
        raise StartFailed(f"no such topic: {', '.join(unknown)}; there are: {', '.join(TOPICS)}")
    principal, password = PREFIX + name, secrets.token_urlsafe(24)
    broker, vault = _servers(record)
    granted = kafka_topics.reader_acls(principal, topics)
    kafka_topics.apply(broker.client_settings(), [], granted, users={principal: password})
    client = vault.client()
    client.sys.create_or_update_acl_policy(principal, reader_policy(principal, topics))
    client.auth.approle.create_or_update_approle(principal, **role_terms(principal))
    client.secrets.kv.v2.create_or_update_secret(f"kafka/{principal}", {"password": password}, mount_point="kv")
    return {
        "principal": principal,
        "group": principal,
        "topics": topics,
        "kafka": broker.address,
        "vault": vault.address,
        "ca_file": record["ca_file"],
        "role_id": client.auth.approle.read_role_id(principal)["data"]["role_id"],
        "wrapped_secret_id": vault.fresh_secret_id(principal),
    }


def remove(record: dict[str, Any], name: str) -> None:
    """Take everything back. The key service comes first: without its policy a token that lives on opens nothing."""
    principal = PREFIX + name
    broker, vault = _servers(record)
    client = vault.client()
    try:
        client.auth.approle.read_role_id(principal)
    except hvac.exceptions.InvalidPath:
        raise StartFailed(f"no such subscriber: {name}") from None
    client.sys.delete_acl_policy(principal)
    client.secrets.kv.v2.delete_metadata_and_all_versions(f"kafka/{principal}", mount_point="kv")
    kafka_topics.remove(broker.client_settings(), principal)
    client.auth.approle.delete_role(principal)  # last, so that a removal that was cut short can be repeated


def _servers(record: dict[str, Any]) -> tuple[Kafka, OpenBao]:
    ca_file = Path(record["ca_file"])
    broker = Kafka(record["kafka"]["port"], ca_file, record["kafka"]["password"])
    return broker, OpenBao(record["vault"]["port"], ca_file, record["vault"]["token"], {})
