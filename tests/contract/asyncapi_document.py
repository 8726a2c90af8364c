"""The AsyncAPI 3 document of all events, made from the topic table, the event classes and the subscriptions."""

import importlib
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from house import SERVICES, events
from pydantic.json_schema import models_json_schema

from phi_common.eventing.envelope import headers_of
from phi_common.events import Event
from phi_common.topics import PARTITIONS, RETENTION_DAYS, TOPICS, Topic

Document = dict[str, Any]

BINDING = "0.5.0"
INFO = {
    "title": "CareLoop events",
    "version": "1.0.0",
    "description": "Payloads are described as they are once opened. On the wire each value is sealed under the "
    "data key that the header `ck` carries: docs/subscribe.md says how to open one.",
}
HEADERS = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"format": "uuid", "description": "The same event delivered again has the same one."},
    "ce_type": {"description": "Name and version."},
    "ce_source": {"description": "The service that wrote it."},
    "ce_time": {"format": "date-time", "description": "Business time of the writer."},
    "ce_sequence": {"pattern": "^[0-9]+$", "description": "Rises per patient and writer, with gaps."},
    "content-type": {"const": "application/json", "description": "Of the opened value."},
    "traceparent": {"description": "W3C trace context of the message that caused it."},
    "ck": {"description": "The data key, wrapped by the topic's Transit key."},
}
KEY = {"type": "string", "format": "uuid", "description": "The patient's id: order holds per patient and topic."}


def document() -> Document:
    """Everything that a subscriber's tools can be fed with."""
    return {
        "asyncapi": "3.0.0",
        "info": INFO,
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {_slug(topic.name): _channel(topic) for topic in TOPICS.values()},
        "operations": _operations(),
        "components": {
            "messages": {kind: _message(found) for kind, found in events().items()},
            "schemas": _schemas(),
            "securitySchemes": {"scram": {"type": "scramSha512", "description": "One principal per program."}},
        },
    }


def sent_headers() -> list[str]:
    """The names of the headers that the relay really writes."""
    row = SimpleNamespace(
        event_id=UUID(int=0), type="", at=datetime(2026, 1, 1, tzinfo=UTC), sequence=0, traceparent="", ck=b""
    )
    return [name for name, _ in headers_of(row, "")]


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=2) + "\n"


def _slug(topic: str) -> str:
    return topic.replace(".", "-")


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "/".join(("#", *path))}


def _server() -> Document:
    return {
        "host": "{address}",
        "protocol": "kafka-secure",
        "variables": {"address": {"description": "host:port of your installation"}},
        "security": [_ref("components", "securitySchemes", "scram")],
    }


def _channel(topic: Topic) -> Document:
    kinds = [kind for kind, found in events().items() if found.topic == topic.name]
    retention = {"cleanup.policy": ["delete"], "retention.ms": RETENTION_DAYS * 86_400_000}
    return {
        "address": topic.name,
        "messages": {kind: _ref("components", "messages", kind) for kind in kinds},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": PARTITIONS,
                "topicConfiguration": retention,
                "bindingVersion": BINDING,
            }
        },
    }


def _message(kind: type[Event]) -> Document:
    headers = {name: {"type": "string"} | HEADERS.get(name, {}) for name in sent_headers()}
    headers["ce_type"] = {"type": "string", "const": kind.type}
    headers["ce_source"] = {"type": "string", "const": f"/careloop/{TOPICS[kind.topic].writer}"}
    return {
        "name": kind.type,
        "summary": (kind.__doc__ or "").splitlines()[0],
        "headers": {"type": "object", "properties": headers, "required": list(headers)},
        "payload": _ref("components", "schemas", kind.__name__),
        "bindings": {"kafka": {"key": KEY, "bindingVersion": BINDING}},
    }


def _schemas() -> Document:
    wanted = [(found, "validation") for found in events().values()]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return dict(found["$defs"])


def _operations() -> Document:
    """What each service sends, and of each topic it reads, what it acts on."""
    operations: Document = {}
    for topic in TOPICS.values():
        kinds = [kind for kind, found in events().items() if found.topic == topic.name]
        operations[f"{topic.writer}-sends-{_slug(topic.name)}"] = _operation("send", topic.writer, topic, kinds)
    for service in SERVICES:
        for subscription in importlib.import_module(f"{service.package}.main").SERVICE.subscriptions:
            topic = TOPICS[subscription.topic]
            name = f"{service.name}-receives-{_slug(topic.name)}"
            operations[name] = _operation("receive", service.name, topic, sorted(subscription.classes))
    return operations


def _operation(action: str, service: str, topic: Topic, kinds: list[str]) -> Document:
    channel = ("channels", _slug(topic.name))
    messages = [_ref(*channel, "messages", kind) for kind in kinds]
    return {"action": action, "tags": [{"name": service}], "channel": _ref(*channel), "messages": messages}
