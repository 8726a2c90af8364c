"""Whether a target dose can be skipped: conditional skip (6.2 when evaluating, 7.1 and 7.6 when forecasting)."""

from collections.abc import Iterable

from care_gap_engine.domain.vaccines.days import Day, Watch, add
from care_gap_engine.domain.vaccines.model import Condition, Skip, SkipSet
from care_gap_engine.domain.vaccines.progress import Progress


def can_be_skipped(skips: Iterable[Skip], progress: Progress, reference: Watch, before: Day) -> bool:
    """Table 6-11. The reference day is the dose's day when evaluating, the as-of day or the earliest day when
    forecasting (CONDSKIP-2); doses given before the day `before` are counted."""
    return any(_skip_holds(skip, progress, reference, before) for skip in skips)


def _skip_holds(skip: Skip, progress: Progress, reference: Watch, before: Day) -> bool:
    for one in skip.sets:
        if _set_is_met(one, progress, reference, before) is not skip.all_needed:
            return not skip.all_needed
    return skip.all_needed


def _set_is_met(one: SkipSet, progress: Progress, reference: Watch, before: Day) -> bool:
    """Table 6-10, for a set that is in force."""
    if one.effective is not None and not reference.within(*one.effective):
        return False
    for condition in one.conditions:
        if _is_met(condition, progress, reference, before) is not one.all_needed:
            return not one.all_needed
    return one.all_needed


def _is_met(condition: Condition, progress: Progress, reference: Watch, before: Day) -> bool:
    """Tables 6-6 to 6-9."""
    if condition.kind == "age":
        ages = progress.patient.ages
        begin = ages[condition.begin] if condition.begin else None
        return reference.within(begin, ages[condition.end] if condition.end else None)
    if condition.kind == "interval":
        assert condition.interval is not None
        return progress.previous is not None and reference.reached(add(progress.previous.day, condition.interval))
    if condition.kind == "completed series":
        complete = progress.complete_groups
        return any(name in complete and complete[name] < before for name in condition.series_groups)
    return _compares(condition, count(condition, progress, before))


def count(condition: Condition, progress: Progress, before: Day) -> int:
    """CONDSKIP-1: how many doses before a day fit by product, age and date; the valid ones, or all of them.

    A list of products may name some that do not hold the antigen, so it is looked for among all of the person's doses.
    """
    total = progress.patient.given if condition.vaccines else progress.doses
    return sum(
        given.day < before
        and (not condition.vaccines or given.cvx in condition.vaccines)
        and (condition.start_day is None or given.day >= condition.start_day)
        and (condition.end_day is None or given.day < condition.end_day)
        and progress.patient.ages.within(given.day, condition.begin, condition.end)
        for given in (progress.valid if condition.valid_only else total)
    )


def _compares(condition: Condition, count: int) -> bool:
    if condition.comparison == "greater than":
        return count > condition.count
    return count == condition.count if condition.comparison == "equal to" else count < condition.count
