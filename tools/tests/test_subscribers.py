"""A subscriber comes with what it was given, and goes with all of it, on the real servers."""

import json
import os
from pathlib import Path
from typing import Any

import hvac
import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from careloop import subscribers
from careloop.processes import StartFailed
from phi_common.topics import CLINICAL_FACTS, GAPS, TOPICS

NAME, PRINCIPAL = "ward-board", "subscriber-ward-board"


@pytest.fixture(scope="module")
def system() -> dict[str, Any]:
    path = os.environ.get("CARELOOP_TEST_SYSTEM")
    if not path:
        pytest.skip("needs the servers that ./careloop test starts")
    return dict(json.loads(Path(path).read_text()))


@pytest.fixture
def given(system):
    """What the subscriber was told."""
    return subscribers.add(system, NAME, [GAPS])


def kafka(system, user, password):
    return {
        "bootstrap.servers": system["kafka"]["address"], "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": user, "sasl.password": password,
        "ssl.ca.location": system["ca_file"], "log_level": 0,
    }  # fmt: skip


def acls(system):
    """The subscriber's, as (kind, name)."""
    admin = AdminClient(kafka(system, system["kafka"]["admin"], system["kafka"]["password"]))
    theirs = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{PRINCIPAL}", None,
        AclOperation.ANY, AclPermissionType.ANY,
    )  # fmt: skip
    return {(found.restype.name, found.name) for found in admin.describe_acls(theirs).result(20)}


def logged_in(system, given):
    unwrapper = hvac.Client(url=given["vault"], token=given["wrapped_secret_id"], verify=given["ca_file"])
    secret_id = unwrapper.sys.unwrap()["data"]["secret_id"]
    client = hvac.Client(url=given["vault"], verify=given["ca_file"])
    client.auth.approle.login(given["role_id"], secret_id)
    return client


def opens(client, topic):
    """Whether the key service would open the topic's keys; it then says that this one is none."""
    try:
        client.secrets.transit.decrypt_data(TOPICS[topic].key, "vault:v1:AA")
    except hvac.exceptions.Forbidden:
        return False
    except hvac.exceptions.InvalidRequest:
        return True
    return True


def password_of(client):
    """The password as the key service keeps it, with its version."""
    path = f"kafka/{PRINCIPAL}"
    return client.secrets.kv.v2.read_secret_version(path, mount_point="kv", raise_on_deleted_version=True)["data"]


def enters_kafka(system, password):
    consumer = Consumer(kafka(system, PRINCIPAL, password) | {"group.id": PRINCIPAL})
    try:
        consumer.list_topics(timeout=5)
    except KafkaException:
        return False
    finally:
        consumer.close()
    return True


def test_a_removed_subscriber_has_nothing_left(system, given):
    client = logged_in(system, given)
    password = password_of(client)["data"]["password"]
    assert (opens(client, GAPS), opens(client, CLINICAL_FACTS)) == (True, False)
    assert acls(system) == {("GROUP", PRINCIPAL), ("TOPIC", GAPS)}
    assert enters_kafka(system, password)

    subscribers.remove(system, NAME)
    assert not opens(client, GAPS), "a token from before opens nothing"
    assert acls(system) == set()
    assert not enters_kafka(system, password)
    with pytest.raises(hvac.exceptions.Forbidden):
        password_of(client)
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.auth.approle.login(given["role_id"], "any")


def test_removing_nobody_says_so(system):
    with pytest.raises(StartFailed, match="no such subscriber: nobody"):
        subscribers.remove(system, "nobody")


def test_a_removal_that_was_cut_short_is_repeated(system, given, monkeypatch):
    def cut(*_):
        raise ConnectionError("cut short")

    monkeypatch.setattr(hvac.api.auth_methods.AppRole, "delete_role", cut)
    with pytest.raises(ConnectionError, match="cut short"):
        subscribers.remove(system, NAME)
    monkeypatch.undo()
    subscribers.remove(system, NAME)
    with pytest.raises(StartFailed):
        subscribers.remove(system, NAME)


def test_one_who_comes_again_is_new(system, given):
    subscribers.remove(system, NAME)
    again = subscribers.add(system, NAME, [GAPS])
    assert again["role_id"] != given["role_id"]
    client = logged_in(system, again)
    assert opens(client, GAPS)
    assert password_of(client)["metadata"]["version"] == 1, "the former password is gone, not only unreadable"
    subscribers.remove(system, NAME)
