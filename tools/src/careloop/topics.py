"""Topics, users and ACLs, made and removed by a process of its own: `python -m careloop.topics`, told what on stdin.

librdkafka's admin client can wait for ever when it is taken down after its broker: it must not live in the launcher.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from phi_common.topics import PARTITIONS, RETENTION_DAYS, Topic

Acl = tuple[str, str, str, str]
RETENTION = {"cleanup.policy": "delete", "retention.ms": str(RETENTION_DAYS * 86_400_000)}


def reader_acls(principal: str, topics: Iterable[str]) -> list[Acl]:
    """Who may read topics reads them in a group of its own name."""
    found = [("group", principal, principal, what) for what in ("read", "describe")]
    return found + [("topic", topic, principal, what) for topic in topics for what in ("read", "describe")]


def acls(topics: Iterable[Topic]) -> list[Acl]:
    """What the event map allows, and nothing else."""
    found: list[Acl] = []
    reads: dict[str, list[str]] = {}
    for topic in topics:
        found += [("topic", topic.name, topic.writer, what) for what in ("write", "describe")]
        for reader in topic.readers:
            reads.setdefault(reader, []).append(topic.name)
    for reader, names in reads.items():
        found += reader_acls(reader, names)
    return found


def apply(
    client: Mapping[str, str], topics: Iterable[str], allowed: Iterable[Acl], users: Mapping[str, str] | None = None
) -> None:
    """Make what is missing, users with their passwords too; raises CalledProcessError when the broker refuses."""
    _order(client, topics=list(topics), acls=list(allowed), users=dict(users or {}))


def remove(client: Mapping[str, str], principal: str) -> None:
    """Take all ACLs and the password from a principal; the same again is harmless."""
    _order(client, removed=principal)


def _order(client: Mapping[str, str], **what: Any) -> None:
    order = {"client": dict(client), "topics": [], "acls": [], "users": {}, "removed": "", **what}
    command = [sys.executable, "-m", "careloop.topics"]
    subprocess.run(command, input=json.dumps(order), text=True, timeout=60, check=True)


def _binding(kind: str, name: str, principal: str, what: str) -> AclBinding:
    return AclBinding(
        ResourceType[kind.upper()],
        name,
        ResourcePatternType.LITERAL,
        f"User:{principal}",
        "*",
        AclOperation[what.upper()],
        AclPermissionType.ALLOW,
    )


def _carry_out(order: dict[str, Any]) -> None:
    admin = AdminClient({**order["client"], "log_level": 3})
    topics = [NewTopic(name, PARTITIONS, 1, config=RETENTION) for name in order["topics"]]
    bindings = [_binding(*acl) for acl in order["acls"]]
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    users: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(name, scram, word.encode()) for name, word in order["users"].items()
    ]
    answers = [
        *(admin.create_topics(topics).values() if topics else ()),
        *(admin.create_acls(bindings).values() if bindings else ()),
        *(admin.alter_user_scram_credentials(users).values() if users else ()),
    ]
    for answer in answers:
        answer.result(30)
    if order["removed"]:
        _remove(admin, order["removed"])


def _remove(admin: AdminClient, principal: str) -> None:
    """ACLs first: they end what a connection that is open may do, which a password does not."""
    theirs = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        f"User:{principal}",
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    for answer in admin.delete_acls([theirs]).values():
        answer.result(30)
    deletion = UserScramCredentialDeletion(principal, ScramMechanism.SCRAM_SHA_512)
    for answer in admin.alter_user_scram_credentials([deletion]).values():
        try:
            answer.result(30)
        except KafkaException as refused:
            if refused.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:
                raise


if __name__ == "__main__":
    _carry_out(json.load(sys.stdin))
    os._exit(0)
