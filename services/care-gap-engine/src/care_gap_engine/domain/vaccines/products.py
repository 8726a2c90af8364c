"""Products that may be given as the next dose (7.5, FORECASTRECVAC-1)."""

from collections.abc import Sequence
from dataclasses import dataclass

from care_gap_engine.domain.vaccines.days import Day
from care_gap_engine.domain.vaccines.forecast import PatientSeries
from care_gap_engine.domain.vaccines.model import Vaccine
from care_gap_engine.domain.vaccines.patient import Patient


@dataclass(frozen=True, slots=True)
class ProductThatFits:
    """A preferable product that is not contraindicated and fits the age. `named`: the schedule asks to name it."""

    cvx: str
    name: str
    trade_name: str | None
    named: bool


def products_that_fit(leading: Sequence[PatientSeries]) -> tuple[ProductThatFits, ...]:
    """Those that serve every leading series; where none does, those that serve any."""
    columns = [_of_series(one) for one in leading]
    everywhere = [product for product in columns[0] if all(product in column for column in columns)]
    anywhere = [product for column in columns for product in column]
    return tuple(dict.fromkeys(everywhere or anywhere))


def _of_series(one: PatientSeries) -> list[ProductThatFits]:
    if one.forecast.target is None or one.forecast.recommended is None:
        return []
    return [
        ProductThatFits(vaccine.cvx, vaccine.name, vaccine.trade_name, vaccine.forecast)
        for vaccine in one.forecast.target.preferable
        if vaccine.cvx not in one.safety.forbidden
        and _fits_age(vaccine, one.forecast.recommended, one.progress.patient)
    ]


def _fits_age(vaccine: Vaccine, recommended: Day, patient: Patient) -> bool:
    """In the product's age range when the dose is due, or today for a dose that is late already."""
    begin = patient.ages[vaccine.begin] if vaccine.begin else None
    end = patient.ages[vaccine.end] if vaccine.end else None
    return (begin is None or recommended >= begin or patient.as_of.reached(begin)) and not (
        end is not None and (recommended >= end or patient.as_of.reached(end))
    )
