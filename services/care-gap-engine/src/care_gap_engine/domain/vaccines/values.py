"""How the texts of a schedule are read: codes, lists, periods, days, yes and no."""

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from care_gap_engine.domain.vaccines.days import Day, Period, period

SLASHED = re.compile(r"(\d{2})/(\d{2})/(\d{4})")


@lru_cache(maxsize=4096)
def code(text: str) -> str:
    """A code as it is compared: numbers as numbers ("03" is "3"), anything else as it stands."""
    text = text.strip()
    return text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else text


def codes(text: str | None) -> frozenset[str]:
    """The codes of a list with semicolons."""
    return frozenset(code(part) for part in (text or "").split(";") if part.strip())


def names(text: str | None) -> frozenset[str]:
    """The words of a list with semicolons, as they stand."""
    return frozenset(part.strip() for part in (text or "").split(";") if part.strip())


def length(text: str | None) -> Period | None:
    """A period, or none."""
    return period(text) if text else None


def day(text: str | None) -> Day | None:
    """A date written 20250827, 2025-08-27 or 08/27/2025."""
    if not text:
        return None
    slashed = SLASHED.fullmatch(text)
    return date.fromisoformat(f"{slashed[3]}{slashed[1]}{slashed[2]}" if slashed else text).toordinal()


def yes(text: str | None) -> bool:
    """Yes or no; raises `ValueError` for anything else."""
    answers = {"yes": True, "y": True, "no": False, "n": False, "": False}
    answer = answers.get((text or "").strip().lower())
    if answer is None:
        raise ValueError(f"neither Yes nor No: {text!r}")
    return answer


def one_of(text: str | None, allowed: Iterable[str], default: str) -> str:
    """A word of a closed list, in small letters; raises `ValueError` for another."""
    word = (text or default).strip().lower()
    if word not in allowed:
        raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
    return word
