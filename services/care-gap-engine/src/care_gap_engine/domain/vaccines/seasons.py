"""Whether a schedule has outlived its seasons: their dates are absolute, and last season's say nothing of this one."""

from datetime import date

from care_gap_engine.domain.vaccines.days import FIRST_DAY, Day
from care_gap_engine.domain.vaccines.model import Schedule


def seasons_over(schedule: Schedule, as_of: date) -> tuple[str, ...]:
    """The vaccine groups whose seasons (7.4) have all ended before a day: a newer schedule is to be loaded.

    A season without an end in the schedule cannot be told to be over.
    """
    last: dict[str, Day] = {}
    for antigen in schedule.antigens.values():
        for series in antigen.series:
            for target in series.targets:
                if target.season_end is not None:
                    last[series.vaccine_group] = max(target.season_end, last.get(series.vaccine_group, FIRST_DAY))
    return tuple(name for name, end in last.items() if end < as_of.toordinal())
