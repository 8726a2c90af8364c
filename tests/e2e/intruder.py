"""A producer of its own: puts copies of real records on a topic, damaged or not, past every check of the services."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from confluent_kafka import Consumer, Producer, TopicPartition
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from careloop import reader, subscribers
from careloop.system import System
from phi_common.crypto import seal, unseal
from phi_common.db import partition_of

SECONDS = 30.0


@dataclass(frozen=True)
class Forged:
    """A record that is right under its own id, until it is spoiled."""

    topic: str
    patient: UUID
    event_id: UUID
    headers: dict[str, bytes]
    value: bytes

    @property
    def spoiled(self) -> bytes:
        """The value with its last byte changed."""
        return self.value[:-1] + bytes([self.value[-1] ^ 1])


class Intruder:
    """Kafka's administrator, with the keys of an outside reader."""

    def __init__(self, system: System, topics: list[str]) -> None:
        access = subscribers.add(system.describe(), "intruder", topics)
        self._keys = reader.Keys(access["vault"], access["ca_file"], access["role_id"], access["wrapped_secret_id"])
        self._client = system.kafka.client_settings()

    def forge(self, topic: str, patient: UUID, plain: bytes | None = None) -> Forged:
        """The patient's last record of a topic as a new event, with another content if given."""
        last = self._last(topic, patient)
        headers, event_id = dict(last.headers()), uuid4()
        key = AESGCM(self._keys.unwrap(topic, headers["ck"]))
        about = f"{headers['ce_type'].decode()}|{patient}"
        plain = plain or unseal(key, last.value(), f"{headers['ce_id'].decode()}|{about}".encode())
        value = seal(key, plain, f"{event_id}|{about}".encode())
        return Forged(topic, patient, event_id, headers | {"ce_id": str(event_id).encode()}, value)

    def send(self, topic: str, patient: UUID, headers: Mapping[str, bytes | None], value: bytes | None) -> None:
        """One record to the patient's partition."""
        producer = Producer(self._client)
        key = str(patient).encode()
        producer.produce(topic, value, key, partition_of(patient), headers=list(headers.items()))
        assert producer.flush(SECONDS) == 0

    def _last(self, topic: str, patient: UUID) -> Any:
        consumer = Consumer(self._client | {"group.id": "intruder", "enable.auto.commit": False})
        place = TopicPartition(topic, partition_of(patient), 0)
        _, end = consumer.get_watermark_offsets(place, SECONDS)
        consumer.assign([place])
        try:
            records = [consumer.poll(SECONDS) for _ in range(end)]
        finally:
            consumer.close()
        return [record for record in records if record.key() == str(patient).encode()][-1]
