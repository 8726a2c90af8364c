"""Who needs which vaccine when: the processing model from history to vaccine groups (chapter 4)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from care_gap_engine.domain.vaccines.antigens import AntigenOutcome, judge_antigen
from care_gap_engine.domain.vaccines.days import LAST_DAY, Day
from care_gap_engine.domain.vaccines.forecast import PatientSeries, Status, Why
from care_gap_engine.domain.vaccines.groups import Joined, join
from care_gap_engine.domain.vaccines.model import RISK, STANDARD, Publication, Schedule, Vaccine, VaccineGroup
from care_gap_engine.domain.vaccines.patient import Aside, Dose, Given, Observation, Patient, Person, organize
from care_gap_engine.domain.vaccines.products import products_that_fit
from care_gap_engine.domain.vaccines.progress import DoseStatus, Reason

STANDING = (DoseStatus.VALID, DoseStatus.NOT_VALID, DoseStatus.EXTRANEOUS, DoseStatus.SUBSTANDARD)


@dataclass(frozen=True, slots=True)
class JudgedDose:
    """One vaccination as the best series judge it; status None: no series of the group takes it up.

    `sources` are all records of this one shot, the used one first.
    """

    dose: Dose
    status: DoseStatus | None
    reason: Reason
    series: str | None
    target: int | None
    sources: tuple[Dose, ...]


@dataclass(frozen=True, slots=True)
class GroupForecast:
    """What is next in a vaccine group, by its risk series or by its standard ones.

    `past_due` is the first day on which the dose counts as overdue; None: it never does. `latest` is the last day.
    `shared_decision`: the schedule offers it for a decision of patient and clinician, and does not recommend it.
    """

    kind: str
    status: Status
    why: Why
    series: tuple[str, ...]
    dose_number: int | None = None
    earliest: date | None = None
    recommended: date | None = None
    past_due: date | None = None
    latest: date | None = None
    products: tuple[Vaccine, ...] = ()
    guidance: tuple[str, ...] = ()
    shared_decision: bool = False


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """One vaccine group for one person: forecasts (risk before standard; none: no relevant series) and doses.

    `recheck_on` is the next day on which time alone may change this; None: no such day. `contraindications` are
    observations that speak against the antigens or some products.
    """

    vaccine_group: str
    forecasts: tuple[GroupForecast, ...]
    doses: tuple[JudgedDose, ...]
    contraindications: tuple[str, ...]
    recheck_on: date | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """All vaccine groups of one person on one day, and the schedule that says so.

    `aside` lists every record that took no part, with the reason: nothing is dropped silently.
    """

    publication: Publication
    as_of: date
    groups: tuple[GroupOutcome, ...]
    aside: tuple[tuple[Dose, Aside], ...]


def forecast(
    schedule: Schedule,
    person: Person,
    doses: Iterable[Dose],
    observations: Iterable[Observation],
    as_of: date,
    vaccine_groups: Collection[str] | None = None,
) -> Forecast:
    """Judge every dose and say what is next, for all vaccine groups of the schedule or for the named ones.

    `as_of` is a local calendar day of the facility. The order of doses and observations makes no difference.
    """
    patient = organize(schedule, person, doses, observations, as_of)
    found = tuple(
        judge_group(group, patient)
        for group in schedule.groups
        if vaccine_groups is None or group.name in vaccine_groups
    )  # fmt: skip
    return Forecast(schedule.publication, as_of, found, tuple(patient.aside))


def judge_group(group: VaccineGroup, patient: Patient) -> GroupOutcome:
    """Chapters 5 to 8 for each antigen of a group, then chapter 9."""
    patient.watch_again()
    outcomes = {name: judge_antigen(patient.schedule.antigens[name], patient) for name in group.antigens}
    given = doses_of(group, patient)
    last_dose = given[-1].day if given else None
    joined = {}
    for kind in (RISK, STANDARD):
        best = {name: of_kind for name, one in outcomes.items() if (of_kind := _of_kind(one, kind))}
        if best:
            joined[kind] = join(group, best, last_dose)
    forecasts = tuple(_told(kind, one) for kind, one in joined.items())
    return GroupOutcome(
        group.name,
        forecasts,
        tuple(judged_dose(one, outcomes.values()) for one in given),
        tuple(dict.fromkeys(code for one in outcomes.values() for code in one.safety.observations)),
        recheck_day(joined.values(), patient),
    )


def _of_kind(outcome: AntigenOutcome, kind: str) -> list[PatientSeries]:
    """The best series that are risk series, or those that are not."""
    return [one for one in outcome.best if (one.series.kind == RISK) is (kind == RISK)]


def doses_of(group: VaccineGroup, patient: Patient) -> list[Given]:
    """The doses that hold an antigen of the group, in order."""
    if len(group.antigens) == 1:
        return patient.by_antigen.get(group.antigens[0], [])
    held = {id(one) for name in group.antigens for one in patient.by_antigen.get(name, ())}
    return [one for one in patient.given if id(one) in held] if held else []


def judged_dose(given: Given, outcomes: Iterable[AntigenOutcome]) -> JudgedDose:
    """A dose counts as valid when it is valid in any best series; of two that agree, the risk series is named."""
    judgements = [
        ((STANDING.index(judged.status), best.series.kind != RISK), judged, best.series.name)
        for outcome in outcomes
        for best in outcome.best
        if (judged := best.progress.judgements.get(given)) is not None
    ]
    if not judgements:
        return JudgedDose(given.dose, None, Reason.NONE, None, None, given.sources)
    _, judged, series = min(judgements, key=lambda found: found[0])
    return JudgedDose(given.dose, judged.status, judged.reason, series, judged.target, given.sources)


def _told(kind: str, joined: Joined) -> GroupForecast:
    leading = joined.leading
    due = joined.status is Status.NOT_COMPLETE
    return GroupForecast(
        kind=kind,
        status=joined.status,
        why=leading[0].forecast.why if leading else Why.COMPLETE,
        series=tuple(one.series.name for one in leading),
        dose_number=joined.dose_number,
        earliest=_date(joined.earliest),
        recommended=_date(joined.recommended),
        past_due=_date(joined.past_due),
        latest=_date(joined.latest),
        products=products_that_fit(leading) if due else (),
        guidance=tuple(dict.fromkeys(text for one in leading for text in one.series.guidance)),
        shared_decision=due and any(is_shared_decision(one) for one in leading if one.series.shared_decision),
    )


def is_shared_decision(one: PatientSeries) -> bool:
    """Whether a series is offered for a shared clinical decision at the person's age on the as-of day."""
    patient = one.progress.patient
    return any(
        patient.as_of.within(patient.ages[begin] if begin else None, patient.ages[end] if end else None)
        for begin, end in one.series.shared_decision
    )


def _date(day: Day | None) -> date | None:
    """A day number as a date, inside the assumed bounds of open ranges."""
    return None if day is None else date.fromordinal(min(day, LAST_DAY))


def recheck_day(joined: Iterable[Joined], patient: Patient) -> date | None:
    """The nearest day ahead that a comparison with the as-of day asked about, or on which a dose becomes due."""
    days = [patient.as_of.next_change]
    for one in joined:
        for day in (one.earliest, one.recommended, one.past_due):
            if day is not None and day > patient.as_of.day:
                days.append(day)
    nearest = min(days)
    return _date(nearest) if nearest < LAST_DAY else None
