"""What outsiders are told: the page's test vector opens with the stand-alone reader and is what CareLoop writes."""

import ast
import json
import re
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from house import ROOT, events

from careloop import reader
from phi_common.clock import new_id
from phi_common.crypto import seal
from phi_common.eventing.envelope import open_record
from phi_common.testing import system, wrapped_secret_id
from phi_common.topics import TOPICS
from phi_common.vault import Vault

PAGE = (ROOT / "docs" / "subscribe.md").read_text()
VECTOR = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL).group(1))
KEY = bytes.fromhex(VECTOR["data_key_hex"])
VALUE = bytes.fromhex(VECTOR["value_hex"])
HEADERS = {name: value.encode() for name, value in VECTOR["headers"].items()}


def unwrap(topic, wrapped):
    assert (topic, wrapped) == (VECTOR["topic"], HEADERS["ck"])
    return KEY


def opened(**changed):
    record = {"topic": VECTOR["topic"], "key": VECTOR["key"].encode(), "headers": HEADERS, "value": VALUE} | changed
    return reader.open_event(**record, unwrap=unwrap)


def test_the_reader_opens_the_vector():
    found = opened()
    assert found["data"] == json.loads(VECTOR["plaintext"])
    assert (found["id"], found["type"], found["sequence"]) == (HEADERS["ce_id"].decode(), "GapOpened.v1", 7)


@pytest.mark.parametrize(
    "changed",
    [
        {"key": b"00000000-0000-4000-8000-000000000002"},
        {"headers": HEADERS | {"ce_id": b"00000000-0000-7000-8000-0000000000e2"}},
        {"headers": HEADERS | {"ce_type": b"GapClosed.v1"}},
        {"value": VALUE[:-1] + bytes([VALUE[-1] ^ 1])},
    ],
    ids=["key", "id", "type", "value"],
)
def test_a_changed_record_does_not_open(changed):
    with pytest.raises(InvalidTag):
        opened(**changed)


async def test_our_own_services_open_the_vector_too():
    class Keys:
        async def opening(self, topic, wrapped):
            return AESGCM(unwrap(topic, wrapped))

    record = SimpleNamespace(
        topic=VECTOR["topic"], key=VECTOR["key"].encode(), headers=list(HEADERS.items()), value=VALUE
    )
    classes = {kind: found for kind, found in events().items() if found.topic == VECTOR["topic"]}
    found = await open_record(record, classes, Keys())
    assert found.event == classes["GapOpened.v1"].model_validate_json(VECTOR["plaintext"])


async def test_the_reader_reads_real_kafka_with_real_keys(tmp_path):
    sent = str(new_id())
    await produce(sent, tmp_path)
    settings = {
        "principal": "outreach",
        "group": "outreach",
        "kafka": system()["kafka"]["address"],
        "vault": system()["vault"]["address"],
        "ca_file": system()["ca_file"],
        "role_id": system()["vault"]["role_ids"]["outreach"],
        "wrapped_secret_id": wrapped_secret_id("outreach", tmp_path).read_text(),
        "topics": [VECTOR["topic"]],
    }
    found = next(
        event for event in reader.events(settings, types={"GapOpened.v1"}, idle_seconds=20) if event["id"] == sent
    )
    assert found["data"] == json.loads(VECTOR["plaintext"])


async def produce(event_id, folder):
    """The vector's event under a real data key, by the topic's writer."""
    writer, topic = TOPICS[VECTOR["topic"]].writer, VECTOR["topic"]
    role_id, address = system()["vault"]["role_ids"][writer], system()["vault"]["address"]
    vault = await Vault.login(address, system()["ca_file"], role_id, wrapped_secret_id(writer, folder))
    plain, wrapped = await vault.data_key(TOPICS[topic].key)
    vault.close()
    context = f"{event_id}|GapOpened.v1|{VECTOR['key']}".encode()
    sealed = seal(AESGCM(plain), VECTOR["plaintext"].encode(), context)
    producer = Producer(
        {
            "bootstrap.servers": system()["kafka"]["address"],
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": writer,
            "sasl.password": system()["kafka"]["users"][writer],
            "ssl.ca.location": system()["ca_file"],
        }
    )
    headers = HEADERS | {"ce_id": event_id.encode(), "ck": wrapped}
    producer.produce(topic, sealed, VECTOR["key"], headers=list(headers.items()))
    assert producer.flush(20) == 0


def test_the_vector_says_how_it_was_made():
    nonce, plain = bytes.fromhex(VECTOR["nonce_hex"]), VECTOR["plaintext"].encode()
    assert "|".join((VECTOR["headers"]["ce_id"], VECTOR["headers"]["ce_type"], VECTOR["key"])) == VECTOR["aad"]
    assert nonce + AESGCM(KEY).encrypt(nonce, plain, VECTOR["aad"].encode()) == VALUE


def test_the_reader_stands_alone_and_names_keys_as_we_do():
    with open(reader.__file__) as file:
        tree = ast.parse(file.read())
    used = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(name.startswith(("phi_common", "careloop")) for name in used)
    assert all(topic.key == "topic-" + topic.name.replace(".", "-") for topic in TOPICS.values())
