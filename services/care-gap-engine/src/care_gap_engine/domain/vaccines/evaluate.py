"""Evaluates the doses that were given against the targets of a series (chapter 6)."""

from collections.abc import Iterable, Mapping

from care_gap_engine.domain.vaccines.days import Day, Watch, add
from care_gap_engine.domain.vaccines.model import AgeRule, Interval, Series, Target, Vaccine
from care_gap_engine.domain.vaccines.patient import Given, Patient
from care_gap_engine.domain.vaccines.progress import DoseStatus, Judgement, Progress, Reason
from care_gap_engine.domain.vaccines.skips import find_skip


def evaluate_series(
    series: Series, patient: Patient, doses: list[Given], complete_groups: Mapping[str, Day]
) -> Progress:
    """Hold every dose of the antigen, in order, against the target that is next (4.4)."""
    progress = Progress(series, patient, doses, complete_groups)
    for given in doses:
        target = next_target(progress, given)
        status, reason = judge(given, target, progress)
        progress.judgements[given] = Judgement(status, reason, target.number if target else None)
        record(given, target, status, reason, progress)
    return progress


def next_target(progress: Progress, given: Given) -> Target | None:
    """The first target that is neither satisfied nor skipped on the day of a dose (6.2)."""
    targets = progress.series.targets
    while progress.position < len(targets):
        target = targets[progress.position]
        skips = target.skips_at_evaluation
        if not skips or given.substandard or find_skip(skips, progress, given.reference, given.day) is None:
            return target
        progress.position += 1
    return None


def judge(given: Given, target: Target | None, progress: Progress) -> tuple[DoseStatus, Reason]:
    """The status of a dose against its target (6.1 to 6.10); the first reason found."""
    if given.substandard:
        return DoseStatus.SUBSTANDARD, Reason.SUBSTANDARD
    if target is None:
        return DoseStatus.EXTRANEOUS, Reason.SERIES_COMPLETE
    if given.cvx in target.inadvertent:
        return DoseStatus.NOT_VALID, Reason.INADVERTENT
    reason = age_reason(given, target, progress.patient)
    if reason is Reason.TOO_OLD:
        return DoseStatus.EXTRANEOUS, reason
    if reason is not Reason.NONE:
        return DoseStatus.NOT_VALID, reason
    if target.intervals and too_soon(given, target, progress):
        return DoseStatus.NOT_VALID, Reason.TOO_SOON
    if given.conflicts and conflicts(given, progress):
        return DoseStatus.NOT_VALID, Reason.CONFLICT
    return product_status(given, target, progress.patient)


def record(given: Given, target: Target | None, status: DoseStatus, reason: Reason, progress: Progress) -> None:
    """Satisfy the target (6.10). A recurring target is followed by a copy of itself, so it stays."""
    if status is DoseStatus.VALID and target is not None:
        progress.valid.append(given)
        progress.satisfied[target.number] = given
        progress.previous = given
        progress.position += not target.recurring
    elif status is DoseStatus.NOT_VALID and reason is not Reason.INADVERTENT:
        progress.previous = given


def age_rule(target: Target, reference: Watch) -> AgeRule | None:
    """The age rule in force on a day; a target without one takes any age."""
    if target.age is not None:
        return target.age
    for rule in target.ages:
        if rule.effective is None or reference.within(*rule.effective):
            return rule
    return None


def age_reason(given: Given, target: Target, patient: Patient) -> Reason:
    """Evaluate age (6.4). The grace before the minimum age is in the schedule's absolute minimum."""
    rule = target.age or age_rule(target, given.reference)
    if rule is None:
        return Reason.NONE
    if rule.absolute_minimum is not None and given.day < patient.ages[rule.absolute_minimum]:
        return Reason.TOO_YOUNG
    if rule.maximum is not None and given.day >= patient.ages[rule.maximum]:
        return Reason.TOO_OLD
    return Reason.NONE


def too_soon(given: Given, target: Target, progress: Progress) -> bool:
    """Evaluate preferable and allowable intervals (6.5, 6.6): all of the first kind, else all of the second."""
    if _all_reached(target.intervals, given, progress):
        return False
    allowed = [interval for interval in target.allowable_intervals if in_force(interval, given.reference)]
    return not allowed or not _all_reached(allowed, given, progress)


def _all_reached(intervals: Iterable[Interval], given: Given, progress: Progress) -> bool:
    for interval in intervals:
        length = interval.absolute_minimum
        if length is None or not in_force(interval, given.reference):
            continue
        start = interval_start(interval, progress, given.position)
        if start is not None and given.day < add(start, length):
            return False
    return True


def in_force(interval: Interval, reference: Watch) -> bool:
    """Whether an interval holds on a day."""
    return interval.effective is None or reference.within(*interval.effective)


def interval_start(interval: Interval, progress: Progress, position: int) -> Day | None:
    """The day from which an interval counts (the rules CALCDTINT of 6.5); None when there is nothing to wait for.

    `position` is how many of the person's doses, of any antigen, come before.
    """
    start: Given | None = None
    if interval.from_previous:
        start = progress.previous
    elif interval.from_target is not None:
        start = progress.satisfied.get(interval.from_target)
    elif interval.from_most_recent:
        earlier = reversed(progress.patient.given[:position])
        start = next((one for one in earlier if one.cvx in interval.from_most_recent), None)
    elif interval.from_observation is not None:
        return progress.patient.observed_on(interval.from_observation)
    return start.day if start is not None else None


def conflicts(given: Given, progress: Progress) -> bool:
    """Evaluate vaccine conflict (6.7) with every earlier dose of any antigen.

    The shorter end holds after a dose that is valid here or is not judged in this series.
    """
    for earlier in progress.patient.given[: given.position]:
        pair = given.conflicts.get(earlier.cvx)
        if pair is None or given.day < add(earlier.day, pair.begin):
            continue
        judged = progress.judgements.get(earlier)
        spared = judged is None or judged.status is DoseStatus.VALID
        if given.day < add(earlier.day, pair.minimum_end if spared else pair.end):
            return True
    return False


def product_status(given: Given, target: Target, patient: Patient) -> tuple[DoseStatus, Reason]:
    """Evaluate for a preferable, then for an allowable vaccine (6.8, 6.9). A low volume is told, never held against."""
    for one in target.preferable:
        if one.cvx == given.cvx and is_preferable(one, given, patient):
            volume = given.dose.volume
            low = volume is not None and one.volume is not None and volume < one.volume
            return DoseStatus.VALID, Reason.LOW_VOLUME if low else Reason.NONE
    for one in target.allowable.get(given.cvx, ()):
        if patient.ages.within(given.day, one.begin, one.end):
            return DoseStatus.VALID, Reason.NONE
    return DoseStatus.NOT_VALID, Reason.PRODUCT


def is_preferable(vaccine: Vaccine, given: Given, patient: Patient) -> bool:
    """Table 6-26, for a dose of the product: its age range, and the maker where the schedule names one."""
    if vaccine.maker is not None and vaccine.maker != given.dose.maker:
        return False
    return patient.ages.within(given.day, vaccine.begin, vaccine.end)
