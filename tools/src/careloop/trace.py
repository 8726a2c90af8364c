"""One trace as a tree, from the files that processes write spans to when there is no collector."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.tree import Tree

Span = dict[str, Any]


def spans(folder: Path) -> list[Span]:
    """All spans that are wholly written."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        lines = file.read_text().splitlines(keepends=True)
        found += [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]
    return found


def latest(all_spans: list[Span], count: int = 10) -> list[tuple[str, Span]]:
    """The first span of the traces that began last, the newest first."""
    first: dict[str, Span] = {}
    for span in sorted(all_spans, key=lambda span: int(span["start"])):
        first.setdefault(span["trace_id"], span)
    newest = sorted(first.items(), key=lambda item: -int(item[1]["start"]))
    return newest[:count]


def tree(all_spans: list[Span], wanted: str) -> Tree | None:
    """The trace whose id begins with `wanted`, children under their parents, in the order of their start."""
    ids = {span["trace_id"] for span in all_spans if span["trace_id"].startswith(wanted.lower())}
    if len(ids) != 1:
        return None
    trace_id = ids.pop()
    chosen = sorted((s for s in all_spans if s["trace_id"] == trace_id), key=lambda s: int(s["start"]))
    known = {span["span_id"] for span in chosen}
    children: dict[str | None, list[Span]] = defaultdict(list)
    for span in chosen:
        children[span["parent"] if span["parent"] in known else None].append(span)
    began = int(chosen[0]["start"])
    at = datetime.fromtimestamp(began / 1e9, UTC).isoformat(timespec="milliseconds")
    services = len({span["service"] for span in chosen})
    root = Tree(f"trace [bold]{trace_id}[/]  {len(chosen)} spans in {services} services, from {at}")

    def add(branch: Tree, parent: str | None) -> None:
        for span in children[parent]:
            add(branch.add(_line(span, began)), span["span_id"])

    add(root, None)
    return root


def _line(span: Span, began: int) -> str:
    start, length = (int(span["start"]) - began) / 1e6, (int(span["end"]) - int(span["start"])) / 1e6
    about = "  ".join(f"{name.rpartition('.')[2]}={value}" for name, value in span["attributes"].items())
    text = f"[cyan]{escape(span['service'])}[/]  {escape(span['name'])}"
    return f"{text}  [dim]+{start:.1f} ms, {length:.1f} ms  {escape(about)}[/]"
