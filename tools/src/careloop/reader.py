"""A whole outside subscriber in one file, to copy: it uses nothing of CareLoop. The envelope is in docs/subscribe.md.

Run it with what `./careloop subscriber add` prints, as a file: `python reader.py subscriber.json`.
Needs confluent-kafka, cryptography and requests.
"""

import base64
import json
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from confluent_kafka import Consumer, KafkaException, Message
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
RENEW_SECONDS = 300

Unwrap = Callable[[str, bytes], bytes]


def open_event(topic: str, key: bytes, headers: Mapping[str, bytes], value: bytes, unwrap: Unwrap) -> dict[str, Any]:
    """The event in a record. Raises `cryptography.exceptions.InvalidTag` when a byte of it, or its key, was changed."""
    data_key = unwrap(topic, headers["ck"])
    context = b"|".join((headers["ce_id"], headers["ce_type"], key))
    plain = AESGCM(data_key).decrypt(value[:NONCE], value[NONCE:], context)
    return {
        "id": headers["ce_id"].decode(),
        "type": headers["ce_type"].decode(),
        "source": headers["ce_source"].decode(),
        "time": headers["ce_time"].decode(),
        "sequence": int(headers["ce_sequence"]),
        "data": json.loads(plain),
    }


class Keys:
    """The key service: one login for each secret-id, then unwrapping of data keys, each asked for once."""

    def __init__(self, address: str, ca_file: str, role_id: str, wrapped_secret_id: str) -> None:
        self._address, self._session = address, requests.Session()
        self._session.verify, self._session.trust_env = ca_file, False
        self._known: dict[tuple[str, bytes], bytes] = {}
        self._token = wrapped_secret_id
        secret_id = self._ask("POST", "sys/wrapping/unwrap")["data"]["secret_id"]
        self._token = ""
        login = {"role_id": role_id, "secret_id": secret_id}
        self._token = self._ask("POST", "auth/approle/login", login)["auth"]["client_token"]
        self._renewed = time.monotonic()

    def password(self, principal: str) -> str:
        """Our Kafka password."""
        found: str = self._ask("GET", f"kv/data/kafka/{principal}")["data"]["data"]["password"]
        return found

    def unwrap(self, topic: str, wrapped: bytes) -> bytes:
        """The data key behind a `ck` header; a producer takes a new one each hour."""
        if (topic, wrapped) not in self._known:
            name = "topic-" + topic.replace(".", "-")
            answer = self._ask("POST", f"transit/decrypt/{name}", {"ciphertext": wrapped.decode()})
            self._known[topic, wrapped] = base64.b64decode(answer["data"]["plaintext"])
        return self._known[topic, wrapped]

    def keep_alive(self) -> None:
        """Renew the token in time; a lost one needs a new secret-id."""
        if time.monotonic() - self._renewed > RENEW_SECONDS:
            self._ask("POST", "auth/token/renew-self")
            self._renewed = time.monotonic()

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        headers = {"X-Vault-Token": self._token} if self._token else {}
        answer = self._session.request(method, f"{self._address}/v1/{path}", json=body, headers=headers, timeout=5)
        if answer.status_code != requests.codes.ok:
            raise RuntimeError(f"{path}: {answer.status_code}")
        found: dict[str, Any] = answer.json()
        return found


def consumer(settings: Mapping[str, Any], password: str) -> Consumer:
    """A consumer of our own group, from the oldest record on."""
    return Consumer(
        {
            "bootstrap.servers": settings["kafka"],
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": settings["principal"],
            "sasl.password": password,
            "ssl.ca.location": settings["ca_file"],
            "group.id": settings["group"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )


def events(
    settings: Mapping[str, Any], *, types: Container[str] | None = None, idle_seconds: float | None = None
) -> Iterator[dict[str, Any]]:
    """Events in order per patient, each at least once: one counts as done when the next one is asked for.

    `types` leaves others unopened. Ends when `idle_seconds` pass without a record; without it, never.
    """
    keys = Keys(settings["vault"], settings["ca_file"], settings["role_id"], settings["wrapped_secret_id"])
    source = consumer(settings, keys.password(settings["principal"]))
    source.subscribe(list(settings["topics"]))
    last = time.monotonic()
    try:
        while idle_seconds is None or time.monotonic() - last < idle_seconds:
            keys.keep_alive()
            message = source.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            headers: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]
            if types is None or headers["ce_type"].decode() in types:
                yield _opened(message, headers, keys.unwrap)
            source.commit(message=message, asynchronous=False)
            last = time.monotonic()
    finally:
        source.close()


def _opened(message: Message, headers: Mapping[str, bytes], unwrap: Unwrap) -> dict[str, Any]:
    topic, key, value = message.topic(), message.key(), message.value()
    if topic is None or key is None or value is None:
        raise ValueError("not an event of CareLoop: no key or no value")
    return open_event(topic, key, headers, value, unwrap)


def main() -> None:
    """Print one event a line. They are about people: mind where this goes."""
    for event in events(json.loads(Path(sys.argv[1]).read_text())):
        print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
