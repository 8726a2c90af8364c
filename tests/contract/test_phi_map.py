"""Which field of which event says what about a person. A new one on the bus is a visible difference in a file."""

import json
import types
from typing import Annotated, Union, get_args, get_origin

import pytest
from house import HERE, REFRESH, events, updating
from pydantic import BaseModel

from phi_common.events import Class

MAP = HERE / "phi_map.json"


def classes_of(model, prefix=""):
    """Path of each field -> its class, into nested models too."""
    found = {}
    for name, field in model.model_fields.items():
        marks = [mark for mark in field.metadata if isinstance(mark, Class)]
        assert len(marks) == 1, f"{model.__name__}.{name} needs one class: PLAIN, QUASI or PHI"
        found[prefix + name] = marks[0].value
        for nested in models_in(field.annotation):
            found |= classes_of(nested, f"{prefix}{name}.")
    return found


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (tuple, list, dict, Union, types.UnionType, Annotated):
        for argument in get_args(annotation):
            yield from models_in(argument)


def current():
    found = {}
    for kind, model in events().items():
        found.setdefault(model.topic, {})[kind] = classes_of(model)
    return found


def test_the_map_is_the_committed_one():
    if updating():
        MAP.write_text(json.dumps(current(), indent=2, sort_keys=True) + "\n")
    assert json.loads(MAP.read_text()) == current(), f"what a topic tells about people has changed: {REFRESH}"


def test_the_key_is_plain():
    for model in events().values():
        assert classes_of(model)["patient_id"] == "plain"


def test_a_field_without_a_class_is_refused():
    class Nested(BaseModel):
        name: str

    class Sample(BaseModel):
        people: Annotated[tuple[Nested, ...] | None, Class.PHI] = None

    with pytest.raises(AssertionError, match=r"Nested\.name needs one class"):
        classes_of(Sample)
