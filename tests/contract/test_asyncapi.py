"""The AsyncAPI document of all events: valid, complete, as committed, and found from the page of the event map."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from asyncapi_document import HEADERS, document, sent_headers, text
from house import HERE, ROOT, events, is_committed
from jsonschema import Draft7Validator

from phi_common.topics import TOPICS

SNAPSHOT = ROOT / "docs" / "asyncapi.json"
GAPS = "careloop-gaps-states"
SPECIFICATION = json.loads((HERE / "asyncapi" / "schema-3.0.0.json").read_text())


def resolved(whole: Any, reference: str) -> Any:
    """What a reference within the document points at."""
    found = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def services(whole: Any, action: str, topic: str) -> set[str]:
    """Who, by the document, does this with a topic."""
    return {
        each["tags"][0]["name"]
        for each in whole["operations"].values()
        if each["action"] == action and resolved(whole, each["channel"]["$ref"])["address"] == topic
    }


def faults(whole: Any) -> list[str]:
    """What the document lacks, or says wrongly, of topics, writers, readers, types and headers."""
    channels = {each["address"]: each for each in whole["channels"].values()}
    found = [f"topic {name}" for name in TOPICS.keys() ^ channels.keys()]
    for name, topic in TOPICS.items():
        found += [f"writer of {name}"] if services(whole, "send", name) != {topic.writer} else []
        found += [f"readers of {name}"] if services(whole, "receive", name) != set(topic.readers) else []
    for kind, event in events().items():
        carried = channels.get(event.topic, {}).get("messages", {})
        message = whole["components"]["messages"].get(kind, {"headers": {"required": ()}})
        found += [f"{kind} on {event.topic}"] if kind not in carried else []
        found += [f"headers of {kind}"] if list(message["headers"]["required"]) != sent_headers() else []
    return found + [f"extra {kind}" for kind in whole["components"]["messages"].keys() - events().keys()]


def test_it_is_the_committed_one():
    is_committed(SNAPSHOT, text())


def test_it_is_asyncapi():
    Draft7Validator.check_schema(SPECIFICATION)
    Draft7Validator(SPECIFICATION).validate(document())


def dangling(whole: Any) -> list[str]:
    """References that lead nowhere."""
    lost = []
    for reference in sorted(set(references(whole))):
        try:
            resolved(whole, reference)
        except KeyError:
            lost.append(reference)
    return lost


def test_every_reference_leads_somewhere():
    whole = document()
    assert dangling(whole) == []
    del whole["channels"][GAPS]["messages"]["GapOpened.v1"]
    assert dangling(whole) == [f"#/channels/{GAPS}/messages/GapOpened.v1"]


def test_it_has_every_topic_type_writer_reader_and_header():
    assert faults(document()) == []
    assert list(HEADERS) == sent_headers()


@pytest.mark.parametrize("kind", events())
def test_a_payload_is_described_as_by_the_class(kind):
    described = document()["components"]["schemas"][events()[kind].__name__]
    own = events()[kind].model_json_schema(ref_template="#/components/schemas/{model}")
    own.pop("$defs", None)
    assert described == own


def test_the_page_for_subscribers_leads_to_it():
    assert "(asyncapi.json)" in (ROOT / "docs" / "subscribe.md").read_text()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: d["channels"][GAPS].update(address="careloop.gaps"), "topic careloop.gaps.states"),
        (lambda d: d["operations"].pop(f"care-gap-engine-sends-{GAPS}"), "writer of careloop.gaps.states"),
        (lambda d: d["operations"].pop(f"outreach-receives-{GAPS}"), "readers of careloop.gaps.states"),
        (lambda d: d["channels"][GAPS]["messages"].pop("GapOpened.v1"), "GapOpened.v1 on careloop.gaps.states"),
        (lambda d: d["components"]["messages"].pop("GapOpened.v1"), "headers of GapOpened.v1"),
        (
            lambda d: d["components"]["messages"]["GapOpened.v1"]["headers"]["required"].remove("ck"),
            "headers of GapOpened.v1",
        ),
        (lambda d: d["components"]["messages"].update({"GapLost.v1": {}}), "extra GapLost.v1"),
    ],
)
def test_the_check_itself_finds_what_is_missing(change, fault):
    whole = copy.deepcopy(document())
    change(whole)
    assert fault in faults(whole)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(asyncapi="2.6.0"),
        lambda d: d["info"].pop("title"),
        lambda d: d["operations"][f"outreach-receives-{GAPS}"].update(action="publish"),
        lambda d: d["channels"][GAPS]["bindings"]["kafka"].update(partitions="twelve"),
        lambda d: d["components"]["messages"]["GapOpened.v1"].update(payloads={}),
    ],
)
def test_the_specification_finds_what_is_no_asyncapi(change):
    whole = copy.deepcopy(document())
    change(whole)
    assert list(Draft7Validator(SPECIFICATION).iter_errors(whole))
