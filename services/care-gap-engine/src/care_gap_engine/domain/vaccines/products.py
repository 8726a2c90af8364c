"""Products that may be given as the next dose (7.5, FORECASTRECVAC-1)."""

from collections.abc import Sequence

from care_gap_engine.domain.vaccines.days import Day
from care_gap_engine.domain.vaccines.forecast import PatientSeries
from care_gap_engine.domain.vaccines.model import Vaccine
from care_gap_engine.domain.vaccines.patient import Patient


def products_that_fit(leading: Sequence[PatientSeries]) -> tuple[Vaccine, ...]:
    """Those that serve every leading series; where none does, those that serve any."""
    columns = [_of_series(one) for one in leading]
    if len(columns) == 1:
        return tuple(columns[0])
    everywhere = set.intersection(*({_key(one) for one in column} for column in columns))
    found: dict[tuple[str, str | None], Vaccine] = {}
    for column in columns:
        for one in column:
            if not everywhere or _key(one) in everywhere:
                found.setdefault(_key(one), one)
    return tuple(found.values())


def _key(vaccine: Vaccine) -> tuple[str, str | None]:
    return vaccine.cvx, vaccine.trade_name


def _of_series(one: PatientSeries) -> list[Vaccine]:
    """Preferable products that are not contraindicated and fit the age."""
    target, recommended = one.forecast.target, one.forecast.recommended
    if target is None or recommended is None:
        return []
    patient, forbidden = one.progress.patient, one.safety.forbidden
    return [
        vaccine
        for vaccine in target.preferable
        if vaccine.cvx not in forbidden and _fits_age(vaccine, recommended, patient)
    ]  # fmt: skip


def _fits_age(vaccine: Vaccine, recommended: Day, patient: Patient) -> bool:
    """In the product's age range when the dose is due, or today for a dose that is late already."""
    begin = patient.ages[vaccine.begin] if vaccine.begin else None
    if begin is not None and recommended < begin and not patient.as_of.reached(begin):
        return False
    end = patient.ages[vaccine.end] if vaccine.end else None
    return end is None or (recommended < end and not patient.as_of.reached(end))
