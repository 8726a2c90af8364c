"""What is known of one person, brought into the order that the logic asks for (chapters 4.1 and 4.2)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import partial

from care_gap_engine.domain.vaccines.days import LAST_DAY, Ages, Day, Watch
from care_gap_engine.domain.vaccines.model import Conflict, Product, Schedule
from care_gap_engine.domain.vaccines.values import code

COMPLETED = "completed"
NO_CONFLICTS: Mapping[str, Conflict] = {}


class Aside(StrEnum):
    """Why a record takes no part in the evaluation."""

    REFUSED = "refused"
    ERROR = "entered in error"
    UNDATED = "undated"
    FUTURE = "after the as-of day"
    UNKNOWN = "unknown product"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Dose:
    """A vaccination as one source recorded it.

    `given` is None when the day is not known; `recorded` keeps what the source wrote. `status` is FHIR's: completed,
    not-done or entered-in-error. `substandard`: recalled, wrongly stored, or partly given. `volume` in millilitres.
    """

    cvx: str
    given: date | None
    maker: str | None = None
    trade_name: str | None = None
    volume: float | None = None
    status: str = COMPLETED
    expired_on: date | None = None
    substandard: bool = False
    source: str = ""
    source_id: str = ""
    recorded: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One of the schedule's coded observations, true of the person from `since` until before `until`, if known."""

    code: str
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a forecast is for. `gender` is female, male or unknown; `birth_country` None is unknown."""

    birth: date
    gender: str = "unknown"
    birth_country: str | None = None


@dataclass(slots=True, eq=False)
class Given:
    """One vaccination that takes part: an antigen administered record of each antigen it holds (4.2).

    `position` is how many doses of any antigen come before it; `conflicts` are those of its product with earlier
    ones; `substandard`: lot or dose were not fit (6.1).
    """

    dose: Dose
    day: Day
    cvx: str
    product: Product
    sources: tuple[Dose, ...]
    reference: Watch
    conflicts: Mapping[str, Conflict]
    substandard: bool
    position: int = 0


@dataclass(slots=True, eq=False)
class Patient:
    """One person on one as-of day; `as_of` collects the days on which the answers can change by time alone."""

    schedule: Schedule
    ages: Ages
    gender: str
    country: str | None
    as_of: Watch
    observations: dict[str, list[Observation]]
    given: list[Given]
    by_antigen: dict[str, list[Given]]
    aside: list[tuple[Dose, Aside]] = field(default_factory=list)
    next_record: Day = LAST_DAY

    def watch_again(self) -> None:
        """Begin to collect anew, from what the records themselves announce."""
        self.as_of = Watch(self.as_of.day)
        self.as_of.next_change = self.next_record

    def observed(self, observation: str) -> bool:
        """Whether an observation holds on the as-of day; silence is not a "no", but it is no "yes" either."""
        return any(_holds(one, self.as_of) for one in self.observations.get(observation, ()))

    def observed_on(self, observation: str) -> Day | None:
        """The last day on which an observation that holds began; None when there is none, or no day is known."""
        held = [one.since.toordinal() for one in self.observations.get(observation, ())
                if one.since is not None and _holds(one, self.as_of)]  # fmt: skip
        return max(held, default=None)


def _holds(one: Observation, as_of: Watch) -> bool:
    since = None if one.since is None else one.since.toordinal()
    return as_of.within(since, None if one.until is None else one.until.toordinal())


def organize(
    schedule: Schedule, person: Person, doses: Iterable[Dose], observations: Iterable[Observation], as_of: date
) -> Patient:
    """Bring a history into order (4.2). The order in which its records came makes no difference."""
    patient = Patient(
        schedule=schedule,
        ages=Ages(person.birth.toordinal()),
        gender=person.gender.strip().lower(),
        country=person.birth_country,
        as_of=Watch(as_of.toordinal()),
        observations={},
        given=[],
        by_antigen={},
    )
    for one in observations:
        patient.observations.setdefault(code(one.code), []).append(one)
    dated = [dose for dose in sorted(doses, key=partial(_order, schedule)) if _takes_part(patient, dose)]
    patient.given = _reconciled(patient, dated)
    patient.next_record = patient.as_of.next_change
    for position, given in enumerate(patient.given):
        given.position = position
        for association in given.product.associations:
            if patient.ages.within(given.day, association.begin, association.end):
                patient.by_antigen.setdefault(association.antigen, []).append(given)
    return patient


def _order(schedule: Schedule, dose: Dose) -> tuple[object, ...]:
    """A total order of records by day and by the schedule's order of products: ties must not fall by arrival."""
    product = schedule.products.get(code(dose.cvx))
    return (
        dose.given or date.min,
        product.order if product else len(schedule.products),
        (dose.cvx, dose.maker or "", dose.trade_name or "", dose.volume or 0.0, dose.source, dose.source_id),
        (dose.status, dose.expired_on or date.min, dose.substandard, dose.recorded),
    )


def _takes_part(patient: Patient, dose: Dose) -> bool:
    reason = _why_not(patient, dose)
    if reason is not None:
        patient.aside.append((dose, reason))
    return reason is None


def _why_not(patient: Patient, dose: Dose) -> Aside | None:
    if dose.status == "entered-in-error":
        return Aside.ERROR
    if dose.status != COMPLETED:
        return Aside.REFUSED
    if dose.given is None:
        return Aside.UNDATED
    if not patient.as_of.reached(dose.given.toordinal()):
        return Aside.FUTURE
    return None if code(dose.cvx) in patient.schedule.products else Aside.UNKNOWN


def _reconciled(patient: Patient, doses: Sequence[Dose]) -> list[Given]:
    """Make one vaccination of the records that different sources hold of it; the others are set aside, and shown."""
    kept: list[Given] = []
    for dose in doses:
        given = _given(patient, dose)
        twin = next((one for one in reversed(kept) if one.day == given.day and _same_shot(one, given)), None)
        if twin is None:
            kept.append(given)
            continue
        better, other = (given, twin) if _tells_more(given, twin) else (twin, given)
        patient.aside.append((other.dose, Aside.DUPLICATE))
        better.sources = (better.dose, other.dose, *twin.sources[1:])
        kept[kept.index(twin)] = better
    return sorted(kept, key=lambda one: (one.day, one.product.order))


def _given(patient: Patient, dose: Dose) -> Given:
    assert dose.given is not None
    day = dose.given.toordinal()
    product = patient.schedule.products[code(dose.cvx)]
    return Given(
        dose, day, product.cvx, product, (dose,), Watch(day),
        conflicts=patient.schedule.conflicts.get(product.cvx, NO_CONFLICTS),
        substandard=dose.substandard or (dose.expired_on is not None and dose.given > dose.expired_on),
    )  # fmt: skip


def _same_shot(one: Given, other: Given) -> bool:
    """Two sources tell of one day and of products of one family: each holds the same antigens.

    Two records of one source are two shots: a source knows its own.
    """
    sources = {dose.source for dose in one.sources}
    family = {association.antigen for association in one.product.associations}
    return other.dose.source not in sources and family == {a.antigen for a in other.product.associations}


def _tells_more(one: Given, other: Given) -> bool:
    """Whether a record is the better one of two: a product of today, and maker, name or volume where they are told."""
    return _detail(one) > _detail(other)


def _detail(one: Given) -> tuple[bool, bool, bool, bool]:
    dose = one.dose
    return one.product.preferred, dose.maker is not None, dose.trade_name is not None, dose.volume is not None
