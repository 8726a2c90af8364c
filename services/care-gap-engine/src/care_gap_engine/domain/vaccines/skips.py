"""Whether a target dose can be skipped: conditional skip (6.2 when evaluating, 7.1 and 7.6 when forecasting)."""

from collections.abc import Iterable

from care_gap_engine.domain.vaccines.days import Day, Watch, add
from care_gap_engine.domain.vaccines.model import Condition, Skip, SkipSet
from care_gap_engine.domain.vaccines.progress import Progress


def find_skip(skips: Iterable[Skip], progress: Progress, reference: Watch, before: Day) -> Skip | None:
    """The skip by which a target dose is not needed (table 6-11), if any.

    The reference day is the dose's day when evaluating, the as-of day or the earliest day when forecasting
    (CONDSKIP-2); doses given before the day `before` are counted.
    """
    for skip in skips:
        if _skip_holds(skip, progress, reference, before):
            return skip
    return None


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
    fitting = 0
    for given in progress.valid if condition.valid_only else total:
        if given.day >= before or (condition.vaccines and given.cvx not in condition.vaccines):
            continue
        if condition.start_day is not None and given.day < condition.start_day:
            continue
        if condition.end_day is not None and given.day >= condition.end_day:
            continue
        fitting += progress.patient.ages.within(given.day, condition.begin, condition.end)
    return fitting


def _compares(condition: Condition, count: int) -> bool:
    if condition.comparison == "greater than":
        return count > condition.count
    return count == condition.count if condition.comparison == "equal to" else count < condition.count
