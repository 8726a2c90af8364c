"""What could not be decided for want of an observation: silence is not a "no" (pitfall of every risk series)."""

from collections.abc import Iterable
from dataclasses import dataclass

from care_gap_engine.domain.vaccines.antigens import at_age
from care_gap_engine.domain.vaccines.model import Schedule, Series, VaccineGroup
from care_gap_engine.domain.vaccines.patient import Patient


@dataclass(frozen=True, slots=True)
class Undecided:
    """An observation that nobody has made or denied, and that would make a risk series of a vaccine group relevant."""

    vaccine_group: str
    observation: str
    title: str
    text: str


def undecided(patient: Patient, vaccine_groups: Iterable[VaccineGroup]) -> tuple[Undecided, ...]:
    """The open questions of a person, each once for a vaccine group, in the order of the schedule (chapter 5).

    An observation that has ended counts as answered.
    """
    found: dict[tuple[str, str], Undecided] = {}
    for group in vaccine_groups:
        for name in group.antigens:
            for series in patient.schedule.antigens[name].series:
                for one in _questions(series, patient, group):
                    found.setdefault((group.name, one.observation), one)
    return tuple(found.values())


def _questions(series: Series, patient: Patient, group: VaccineGroup) -> Iterable[Undecided]:
    if series.genders and patient.gender not in series.genders:
        return
    for indication in series.indications:
        if indication.observation not in patient.observations and at_age(indication, patient):
            title = _title(patient.schedule, indication.observation)
            yield Undecided(group.name, indication.observation, title, indication.text)


def _title(schedule: Schedule, observation: str) -> str:
    known = schedule.observations.get(observation)
    return known.title if known else ""
