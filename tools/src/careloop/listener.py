"""What an outside subscriber hears: the demo shows this, not what services say of themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from confluent_kafka import Consumer, KafkaException, TopicPartition

from careloop import reader
from phi_common.topics import PARTITIONS

SECONDS = 30.0


@dataclass(frozen=True)
class Heard:
    """One event, opened."""

    id: str
    at: datetime
    type: str
    patient_id: UUID
    trace: str
    data: Mapping[str, Any]


class Listener:
    """Reads each event of some topics once, up to where they end at the moment it is asked."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Log in as the subscriber whom `./careloop subscriber add` would have described so."""
        self._keys = reader.Keys(
            settings["vault"], settings["ca_file"], settings["role_id"], settings["wrapped_secret_id"]
        )
        self._consumer: Consumer = reader.consumer(settings, self._keys.password(settings["principal"]))
        self._topics = list(settings["topics"])
        self._next = {(topic, n): 0 for topic in self._topics for n in range(PARTITIONS)}

    def news(self) -> Sequence[Heard]:
        """What was published since the last call: topic by topic, in order per patient."""
        self._keys.keep_alive()
        ends = {place: self._end(*place) for place in self._next}
        behind = [TopicPartition(*place, at) for place, at in self._next.items() if at < ends[place]]
        self._consumer.assign(behind)  # only now: a fetch that waits for news would hold up the questions above
        found = []
        while any(self._next[place] < end for place, end in ends.items()):
            message: Any = self._consumer.poll(SECONDS)
            if message is None:
                raise TimeoutError("Kafka holds events that it does not give")
            if message.error():
                raise KafkaException(message.error())
            found.append((message.topic(), self._opened(message)))
            self._next[message.topic(), message.partition()] = message.offset() + 1
        self._consumer.unassign()
        return [heard for topic in self._topics for source, heard in found if source == topic]

    def close(self) -> None:
        """Leave before the broker does."""
        self._consumer.close()

    def _end(self, topic: str, partition: int) -> int:
        return int(self._consumer.get_watermark_offsets(TopicPartition(topic, partition), SECONDS)[1])

    def _opened(self, message: Any) -> Heard:
        headers = dict(message.headers())
        event = reader.open_event(message.topic(), message.key(), headers, message.value(), self._keys.unwrap)
        trace = headers.get("traceparent", b"").decode()[3:35]
        return Heard(
            event["id"],
            datetime.fromisoformat(event["time"]),
            event["type"],
            UUID(message.key().decode()),
            trace,
            event["data"],
        )
