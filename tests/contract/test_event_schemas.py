"""Each event's schema is the committed one, and may only grow."""

import copy
import json
from enum import Enum

import pytest
from compatibility import breaking_changes
from house import HERE, REFRESH, events, updating
from pydantic import BaseModel

SCHEMAS = HERE / "schemas"


@pytest.mark.parametrize("kind", events())
def test_a_schema_equals_its_snapshot_and_breaks_nobody(kind):
    path = SCHEMAS / f"{kind}.json"
    now = events()[kind].model_json_schema()
    committed = json.loads(path.read_text()) if path.exists() else None
    broken = breaking_changes(committed, now) if committed else []
    assert not broken, f"{kind} breaks its readers or writers; make a new version of the type instead: {broken}"
    if updating():
        path.write_text(json.dumps(now, indent=2) + "\n")
        return
    assert now == committed, f"{kind} has changed: see that readers can bear it, then: {REFRESH}"


def test_no_event_class_was_dropped():
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(events())


def test_a_type_names_its_class_and_version():
    for kind, found in events().items():
        name, _, version = kind.partition(".v")
        assert version.isdecimal()
        assert found.__name__ == name + ("" if version == "1" else f"V{version}")


class Colour(Enum):
    RED = "red"
    OTHER = "other"


class Closed(Enum):
    YES = "yes"


class Part(BaseModel):
    colour: Colour
    closed: Closed | None = None


class Sample(BaseModel):
    """An event of no meaning, to try the checker on."""

    name: str
    parts: tuple[Part, ...] = ()
    count: int = 0


def changed(change):
    new = copy.deepcopy(Sample.model_json_schema())
    change(new)
    return breaking_changes(Sample.model_json_schema(), new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["properties"].pop("count"), "count: removed"),
        (lambda s: s["properties"]["name"].update(type="integer"), "name: type changed"),
        (lambda s: s["properties"]["name"].update(format="date"), "name: format changed"),
        (lambda s: s["properties"]["name"].update(maxLength=3), "name: maxLength changed"),
        (lambda s: s["properties"]["count"].update(default=1), "count: default changed"),
        (
            lambda s: s["properties"]["count"].update({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            "count: anyOf changed",
        ),
        (lambda s: s["required"].append("severity"), "severity: newly required"),
        (lambda s: s["required"].remove("name"), "name: no longer required"),
        (lambda s: s["$defs"]["Colour"]["enum"].remove("red"), "parts.colour: value red removed"),
        (lambda s: s["$defs"]["Closed"].update(const="no"), "parts.closed: const changed"),
        (lambda s: s["$defs"]["Part"]["properties"].pop("closed"), "parts.closed: removed"),
        (lambda s: s["$defs"]["Part"]["required"].append("closed"), "parts.closed: newly required"),
        (lambda s: s.update(additionalProperties=False), "event: additionalProperties changed"),
    ],
)
def test_the_check_itself_catches_breaking_changes(change, message):
    assert message in changed(change)


def test_a_closed_enum_stays_closed():
    schema = {"properties": {"answer": {"enum": ["yes", "no"]}}}
    wider = {"properties": {"answer": {"enum": ["yes", "no", "perhaps"]}}}
    assert breaking_changes(schema, wider) == ["answer: value perhaps added to a closed enum"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].update(note={"type": "string", "default": ""}),
        lambda s: s["$defs"]["Colour"]["enum"].append("blue"),
        lambda s: s["properties"]["name"].update(description="words"),
        lambda s: s.update(title="Another", description="words"),
    ],
)
def test_the_check_itself_lets_additions_pass(change):
    assert changed(change) == []
