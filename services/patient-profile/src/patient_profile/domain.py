"""The golden record and the decider that folds reports into it. No I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from phi_common.decision import Decision
from phi_common.events import Event
from phi_common.events.patients import ContactChanged, PatientReported, Phone, ProfileChanged, Sex, Use

REGION = "US"
DEFAULT_LANGUAGE = "en"
BEST_FIRST = (Use.MOBILE, Use.HOME, Use.WORK, Use.OTHER)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class Number:
    """A phone number in E.164 form and what it is good for."""

    number: str
    use: Use = Use.OTHER


@dataclass(frozen=True, slots=True)
class Golden:
    """What holds of one person after all reports so far. `reported` is False until the first one."""

    patient_id: UUID
    reported: bool = False
    family: str | None = None
    given: str | None = None
    birth_date: str | None = None
    sex: Sex = Sex.UNKNOWN
    deceased: bool = False
    phones: tuple[Number, ...] = ()
    invalid_phones: int = 0
    """How many numbers of the last report that named any could not be called."""
    emails: tuple[str, ...] = ()
    language: str = DEFAULT_LANGUAGE
    postal_code: str | None = None
    facility: str | None = None
    zone: str = "UTC"

    def profile(self) -> ProfileChanged:
        """What the rules may know."""
        return ProfileChanged(
            patient_id=self.patient_id,
            birth_date=full_date(self.birth_date),
            sex=self.sex,
            deceased=self.deceased,
            facility=self.facility,
            zone=self.zone,
        )

    def contact(self) -> ContactChanged:
        """How the person can be reached."""
        return ContactChanged(
            patient_id=self.patient_id,
            family=self.family,
            given=self.given,
            phones=tuple(Phone(number=phone.number, use=phone.use) for phone in self.phones),
            emails=self.emails,
            language=self.language,
            zone=self.zone,
        )


@dataclass(frozen=True)
class Registry:
    """Where facilities are; `report` is the decider."""

    zones: Mapping[str, str]
    default_zone: str

    def report(self, known: Golden, event: PatientReported, now: datetime) -> Decision[Golden]:
        """Fold one report into the record: what it does not say stays, what it says wins; tell what changed.

        A death stays until a report says outright that the person lives.
        """
        said = {
            name: getattr(event, name)
            for name in ("family", "given", "birth_date", "sex", "deceased", "postal_code", "facility")
            if getattr(event, name) is not None
        }
        if event.phones is not None:
            said["phones"], said["invalid_phones"] = callable_numbers(event.phones)
        if event.emails is not None:
            said["emails"] = addresses(event.emails)
        if event.language:
            said["language"] = event.language.lower()
        facility = said.get("facility", known.facility)
        zone = self.zones.get(facility or "", self.default_zone)
        after = replace(known, **said, zone=zone, reported=True)
        return Decision(after, tuple(news(known, after)))


def news(before: Golden, after: Golden) -> Iterable[Event]:
    """The events whose content is new to the others."""
    for mine, others in ((after.profile(), before.profile()), (after.contact(), before.contact())):
        if mine != others or not before.reported:
            yield mine


def callable_numbers(phones: Iterable[Phone]) -> tuple[tuple[Number, ...], int]:
    """The valid numbers in E.164 form, each once and mobile ones first; and how many were not valid."""
    best: dict[str, Use] = {}
    invalid = 0
    for phone in phones:
        number = e164(phone.number)
        if number is None:
            invalid += 1
        elif number not in best or rank(phone.use) < rank(best[number]):
            best[number] = phone.use
    numbers = sorted((Number(number, use) for number, use in best.items()), key=lambda one: rank(one.use))
    return tuple(numbers), invalid


def rank(use: Use) -> int:
    """The lower, the likelier to reach the person."""
    return BEST_FIRST.index(use)


def e164(text: str) -> str | None:
    """A number as the whole world dials it; None if nobody can."""
    import phonenumbers  # reads numbering plans: paid for with the first number only

    try:
        parsed = phonenumbers.parse(text, REGION)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def addresses(emails: Iterable[str]) -> tuple[str, ...]:
    """Each usable e-mail address once, in the order of the report."""
    return tuple(dict.fromkeys(email for text in emails if EMAIL.fullmatch(email := text.strip())))


def full_date(text: str | None) -> date | None:
    """A birth date known to the day; a year or a month alone is not a date of birth."""
    if text is None or not DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
