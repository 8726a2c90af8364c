"""Phones, e-mail addresses and languages as senders really write them into PID."""

import re

from ingest_fhir.hl7v2.reader import DELETE, Segment
from phi_common.events.patients import Phone, Use

USES = {
    "PRN": Use.HOME,
    "HOME": Use.HOME,
    "ORN": Use.HOME,
    "WPN": Use.WORK,
    "WORK": Use.WORK,
    "PRS": Use.MOBILE,
    "MOBILE": Use.MOBILE,
    "CELL": Use.MOBILE,
}
NO_VOICE = frozenset({"FX", "BP", "MD", "TDD", "TTY", "X.400"})
LANGUAGES = {
    "english": "en", "eng": "en", "spanish": "es", "spa": "es", "french": "fr", "fre": "fr", "fra": "fr",
    "german": "de", "ger": "de", "deu": "de", "chinese": "zh", "chi": "zh", "zho": "zh", "mandarin": "zh",
    "vietnamese": "vi", "vie": "vi", "russian": "ru", "rus": "ru", "arabic": "ar", "ara": "ar",
    "korean": "ko", "kor": "ko", "portuguese": "pt", "por": "pt", "italian": "it", "ita": "it",
    "polish": "pl", "pol": "pl",
}  # fmt: skip
BCP47 = re.compile(r"[a-z]{2}(-[a-z0-9]{2,8})*", re.ASCII)

Contacts = tuple[tuple[Phone, ...] | None, tuple[str, ...] | None]


def contacts(pid: Segment) -> Contacts:
    """Phones and e-mail addresses; `None` when none of the three fields is there."""
    phones: list[Phone] = []
    emails: list[str] = []
    fields = [(13, Use.HOME), (14, Use.WORK), (40, Use.OTHER)]
    if not any(pid.raw(field) for field, _ in fields):
        return None, None
    for field, default in fields:
        for repetition in pid.repetitions(field):
            if repetition != DELETE:
                _contact(pid, repetition, default, phones, emails)
    return tuple(dict.fromkeys(phones)), tuple(dict.fromkeys(emails))


def _contact(pid: Segment, text: str, default: Use, phones: list[Phone], emails: list[str]) -> None:
    part = [pid.part(text, n) for n in range(1, 13)]
    email = next((value for value in (part[3], part[0]) if "@" in value), "")
    if email:
        emails.append(email)
        return
    equipment = part[2].upper()
    number = part[0] or part[11] or "".join(part[4:7])
    if not any(char.isdigit() for char in number) or equipment in NO_VOICE or part[1].upper() in ("NET", "BPN"):
        return
    use = USES.get(part[1].upper()) or USES.get(part[3].upper())
    if equipment == "CP":
        use = Use.MOBILE
    phones.append(Phone(number=number, use=use or (Use.OTHER if part[1] else default)))


def language(pid: Segment) -> str | None:
    """PID-15 as BCP 47, from its code or its text; what we cannot read was not said."""
    if pid.raw(15) == DELETE:
        return ""
    for component in (1, 2):
        text = (pid.value(15, component) or "").lower().replace("_", "-")
        if text in LANGUAGES:
            return LANGUAGES[text]
        if BCP47.fullmatch(text):
            return text
    return None
