"""Whether yesterday's readers and writers of an event can live with today's, told from its two JSON Schemas."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

WORDS = {"title", "description", "$defs"}
OPEN = "other"
"""An enum with this member is open: readers take an unknown value for it, so new values break nobody."""


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What in `new` would break a reader or a writer of `old`; words for people may change.

    Additive is: a new field that is not required, a new value of an open enum. Nothing else.
    """
    return list(_differences(_inlined(old, old), _inlined(new, new), ""))


def _inlined(node: Any, root: Schema) -> Any:
    """The schema with every reference replaced by what it refers to; our events do not refer to themselves."""
    if isinstance(node, list):
        return [_inlined(item, root) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined(root["$defs"][node["$ref"].rpartition("/")[2]] | beside, root)
    return {key: _inlined(value, root) for key, value in node.items() if key != "$defs"}


def _differences(old: Any, new: Any, at: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for word in sorted((old.keys() | new.keys()) - WORDS):
            yield from _word(word, old.get(word), new.get(word), at)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for before, after in zip(old, new, strict=True):
            yield from _differences(before, after, at)
    elif old != new:
        yield f"{at or 'event'}: changed"


def _word(word: str, old: Any, new: Any, at: str) -> Iterator[str]:
    match word:
        case "properties":
            yield from _properties(old or {}, new or {}, at)
        case "required":
            yield from (f"{_join(at, name)}: newly required" for name in sorted({*(new or ())} - {*(old or ())}))
            yield from (f"{_join(at, name)}: no longer required" for name in sorted({*(old or ())} - {*(new or ())}))
        case "enum" if old is not None and new is not None:
            yield from (f"{at}: value {value} removed" for value in old if value not in new)
            if OPEN not in old:
                yield from (f"{at}: value {value} added to a closed enum" for value in new if value not in old)
        case _ if isinstance(old, dict | list) and type(old) is type(new):
            yield from _differences(old, new, at)
        case _ if old != new:
            yield f"{at or 'event'}: {word} changed"


def _properties(old: Schema, new: Schema, at: str) -> Iterator[str]:
    for name, before in old.items():
        if name not in new:
            yield f"{_join(at, name)}: removed"
        else:
            yield from _differences(before, new[name], _join(at, name))


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
