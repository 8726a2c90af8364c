"""Whether anything went out after an opt-out was in effect, but for the one text that confirms it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CONFIRM_SECONDS = 300.0


@dataclass(frozen=True)
class OptOut:
    """One opt-out as consent recorded it; times in seconds since 1970."""

    id: str
    number: str
    received: float
    effective: float


@dataclass(frozen=True)
class Verdict:
    """What was found in the provider's journal."""

    violations: int = 0
    confirmations: int = 0


def judge(journal: Iterable[Mapping[str, Any]], optouts: Iterable[OptOut], confirms: Mapping[str, str]) -> Verdict:
    """`confirms` says which message, by its tag, has a permit to confirm which opt-out.

    The first confirmation of an opt-out within five minutes is allowed. A second one, a late one, one to another
    number, one before its opt-out was in effect, and any other message after it are violations.
    """
    known = {optout.id: optout for optout in optouts}
    done: set[str] = set()
    violations = 0
    for text in sorted(journal, key=lambda text: float(text["at"])):
        confirmed = known.get(confirms.get(text["tag"], ""))
        if confirmed is None:
            violations += text["tag"] in confirms or any(
                optout.number == text["to"] and text["at"] > optout.effective for optout in known.values()
            )
        elif confirmed.id in done or text["to"] != confirmed.number or not _in_time(text["at"], confirmed):
            violations += 1
        else:
            done.add(confirmed.id)
    return Verdict(violations, len(done))


def _in_time(at: float, optout: OptOut) -> bool:
    return optout.effective <= at <= optout.received + CONFIRM_SECONDS
