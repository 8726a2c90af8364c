"""CloudEvents 1.0, Kafka binary mode: attributes in headers, the sealed event in the value."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from phi_common.crypto import Undecryptable, unseal
from phi_common.events import Event
from phi_common.keys import TopicKeys
from phi_common.vault import VaultError, VaultUnavailable


@dataclass(frozen=True)
class Received:
    """One record, opened and parsed."""

    record: Any
    event_id: UUID
    traceparent: str
    event: Event


@dataclass(frozen=True)
class Bad:
    """One record that cannot be handled, and why, without a word of its content."""

    record: Any
    event_id: UUID
    patient_id: UUID | None
    type: str
    reason: str


def headers_of(row: Any, source: str) -> list[tuple[str, bytes]]:
    """The Kafka headers of an outbox row (columns of `outbox`, by attribute)."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(row.event_id).encode()),
        ("ce_type", row.type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", row.at.isoformat().encode()),
        ("ce_sequence", b"%d" % row.sequence),
        ("content-type", b"application/json"),
        ("traceparent", row.traceparent.encode()),
        ("ck", row.ck),
    ]


def time_of(headers: Mapping[str, bytes]) -> datetime:
    """The business time at which an event was recorded."""
    return datetime.fromisoformat(headers["ce_time"].decode())


async def open_record(record: Any, classes: Mapping[str, type[Event]], keys: TopicKeys) -> Received | Bad | None:
    """Unseal and parse one record; None when its type is not ours. Only an unreachable key service raises."""
    headers = {name: value or b"" for name, value in record.headers}  # Kafka lets a header, and a value, be null
    kind = headers.get("ce_type", b"").decode(errors="replace")
    known = classes.get(kind)
    if known is None and kind:
        return None
    event_id, patient_id = UUID(int=0), None
    try:
        event_id = UUID(headers["ce_id"].decode())
        patient_id = UUID(record.key.decode())
        key = await keys.opening(record.topic, headers["ck"])
        body = unseal(key, record.value or b"", f"{event_id}|{kind}|{patient_id}".encode())
        event = known.__pydantic_validator__.validate_json(body)  # type: ignore[union-attr]
        if event.patient_id != patient_id:
            return Bad(record, event_id, patient_id, kind, "KeyMismatch")
        traceparent = headers.get("traceparent", b"").decode()
        return Received(record, event_id, traceparent, event.traced(traceparent))
    except VaultUnavailable:
        raise
    except (Undecryptable, VaultError, ValueError, LookupError, AttributeError) as error:
        return Bad(record, event_id or UUID(int=0), patient_id, kind, type(error).__name__)
