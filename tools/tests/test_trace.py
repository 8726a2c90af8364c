"""A trace is drawn from files that may be cut off at the end."""

import json

from rich.console import Console

from careloop.trace import latest, spans, tree


def span(service, name, span_id, parent=None, start=0, trace="ab" * 16):
    return {
        "service": service, "trace_id": trace, "span_id": span_id, "parent": parent, "name": name,
        "start": start, "end": start + 1_000_000, "attributes": {"http.route": "/x[y]"}, "links": [],
    }  # fmt: skip


def test_children_stand_under_their_parents(tmp_path):
    lines = [span("a", "root", "1"), span("b", "child", "2", "1", 5), span("c", "grandchild", "3", "2", 9)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut off')
    found = spans(tmp_path)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(tree(found, "abab"))
    text = shown.get()
    assert "3 spans in 3 services" in text
    assert text.index("root") < text.index("child") < text.index("grandchild")
    assert "/x[y]" in text


def test_an_ambiguous_beginning_shows_nothing():
    assert tree([span("a", "x", "1", trace="a1"), span("a", "x", "1", trace="a2")], "a") is None


def test_newest_first():
    found = latest([span("a", "old", "1", start=1, trace="a1"), span("a", "new", "2", start=2, trace="a2")])
    assert [first["name"] for _, first in found] == ["new", "old"]
