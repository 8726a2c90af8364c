"""Joins the best series of the antigens of a vaccine group into one forecast (chapter 9)."""

from collections.abc import Sequence
from dataclasses import dataclass

from care_gap_engine.domain.vaccines.days import Day
from care_gap_engine.domain.vaccines.forecast import PatientSeries, SeriesForecast, Status
from care_gap_engine.domain.vaccines.model import VaccineGroup

ONE_ANTIGEN = (
    Status.NOT_COMPLETE, Status.CONTRAINDICATED, Status.COMPLETE, Status.IMMUNE, Status.AGED_OUT,
    Status.NOT_RECOMMENDED,
)  # fmt: skip
ANY_OF = (Status.CONTRAINDICATED, Status.AGED_OUT, Status.NOT_RECOMMENDED, Status.NOT_COMPLETE)


@dataclass(frozen=True, slots=True)
class Joined:
    """A vaccine group forecast, and the series it stands on."""

    status: Status
    leading: tuple[PatientSeries, ...]
    dose_number: int | None = None
    earliest: Day | None = None
    recommended: Day | None = None
    past_due: Day | None = None
    latest: Day | None = None


def join(group: VaccineGroup, best: dict[str, list[PatientSeries]], last_dose: Day | None) -> Joined:
    """The forecast of a group from the best series of its antigens, all risk or all standard (9.1).

    `last_dose` is the day of the last dose of the group, of any status.
    """
    if len(group.antigens) == 1:
        return single_antigen(of_one_antigen(best[group.antigens[0]]))
    return multiple_antigens(group, [of_one_antigen(found) for found in best.values()], last_dose)


def single_antigen(one: PatientSeries) -> Joined:
    """Single antigen vaccine group (9.2): what its series says."""
    said = one.forecast
    return Joined(
        said.status, (one,), said.dose_number, said.earliest, said.recommended, said.past_due, said.latest
    )  # fmt: skip


def multiple_antigens(group: VaccineGroup, chosen: list[PatientSeries], last_dose: Day | None) -> Joined:
    """Multiple antigen vaccine group (9.3). What need not be given whole goes on without a contraindicated antigen."""
    if not group.whole:
        chosen = [one for one in chosen if one.forecast.status is not Status.CONTRAINDICATED] or chosen
    status = group_status(chosen)
    leading = tuple(one for one in chosen if one.forecast.status is status)
    if status is not Status.NOT_COMPLETE:
        return Joined(status, leading)
    said = [one.forecast for one in leading]
    earliest = earliest_day(said, last_dose)
    past_due = min((one.past_due for one in said if one.past_due is not None), default=None)
    number = min if group.whole else max
    return Joined(
        status=status,
        leading=leading,
        dose_number=number(one.dose_number for one in said if one.dose_number is not None),
        earliest=earliest,
        recommended=max(earliest, min(one.recommended for one in said if one.recommended is not None)),
        past_due=None if past_due is None else max(earliest, past_due),
        latest=min((one.latest for one in said if one.latest is not None), default=None),
    )


def of_one_antigen(found: Sequence[PatientSeries]) -> PatientSeries:
    """One antigen with several best series: what is still to be done wins (9.2)."""
    if len(found) == 1:
        return found[0]
    return min(found, key=lambda one: ONE_ANTIGEN.index(one.forecast.status))


def group_status(chosen: Sequence[PatientSeries]) -> Status:
    """Table 9-4."""
    statuses = {one.forecast.status for one in chosen}
    for status in ANY_OF:
        if status in statuses:
            return status
    return Status.IMMUNE if statuses == {Status.IMMUNE} else Status.COMPLETE


def earliest_day(said: Sequence[SeriesForecast], last_dose: Day | None) -> Day:
    """MULTIANTVG-1: the latest of the earliest days; with a priority forecast the first, not before the last dose."""
    days = [one.earliest for one in said if one.earliest is not None]
    if any(one.priority for one in said):
        return max(min(days), last_dose or min(days))
    return max(days)
