"""What the demo shows and counts: one line for each thing that happens, one summary at the end."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console

from careloop.listener import Heard


@dataclass(frozen=True)
class Line:
    """One line of the story, in virtual time."""

    at: datetime
    who: str
    what: str
    trace: str = ""


@dataclass
class Summary:
    """What happened, counted from the events that an outside subscriber read."""

    messages_in: int = 0
    gaps_opened: int = 0
    gaps_closed: int = 0
    sent: dict[str, int] = field(default_factory=lambda: {"sms": 0, "portal": 0})
    """Messages about care. The answer to a STOP is none, and is counted by itself."""
    confirmations: int = 0
    suppressed: dict[str, int] = field(default_factory=lambda: {"no-consent": 0, "opted-out": 0})
    reviews: int = 0
    trace_ids: list[str] = field(default_factory=list)
    seconds: float = 0.0


def count(summary: Summary, heard: Heard) -> None:
    """What an event adds to the summary."""
    match heard.type:
        case "GapOpened.v1":
            summary.gaps_opened += 1
        case "GapClosed.v1":
            summary.gaps_closed += 1
        case "MessageSent.v1":
            _add(summary.sent, heard.data["channel"])
        case "OptOutConfirmationSent.v1":
            summary.confirmations += 1
        case "OutreachSuppressed.v1":
            _add(summary.suppressed, heard.data["reason"])
        case "CoordinatorReviewRequested.v1":
            summary.reviews += 1


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def in_words(heard: Heard) -> str:
    """An event as a sentence; nothing for those that the next one says better."""
    said = heard.data
    match heard.type:
        case "GapOpened.v1":
            return f"gap opens: {said['rule']} was due on {said['due']}"
        case "GapClosed.v1":
            return f"gap closes: {said['by']} of {said['on']}"
        case "MessageSent.v1":
            return f"attempt {said['attempt']} goes out by {channel_name(said['channel'])}"
        case "OptOutConfirmationSent.v1":
            return f"is told by {channel_name(said['channel'])}, once, that no more will come"
        case "MessageFailed.v1":
            return f"attempt {said['attempt']} fails: {said['reason']}"
        case "OutreachSuppressed.v1":
            return f"attempt {said['attempt']} is held back: {said['reason']}"
        case "CoordinatorReviewRequested.v1":
            return f"a care coordinator takes over: {said['reason']}"
    return ""


def channel_name(name: str) -> str:
    """A channel as people call it."""
    return {"sms": "SMS", "portal": "the portal"}.get(name, name)


def show(console: Console) -> Callable[[Line], None]:
    """Lines for a terminal."""

    def tell(line: Line) -> None:
        when, trace = f"{line.at:%Y-%m-%d %H:%MZ}", f"  [dim]trace {line.trace}[/]" if line.trace else ""
        text = f"[cyan]{when}[/]  [bold]{line.who:<18}[/] {line.what}{trace}"
        console.print(text, highlight=False, soft_wrap=True)

    return tell


def write(summary: Summary, file: Path) -> None:
    """The summary as JSON."""
    file.write_text(json.dumps(asdict(summary), indent=2) + "\n")
