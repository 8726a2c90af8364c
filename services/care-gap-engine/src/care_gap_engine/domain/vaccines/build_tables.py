"""Turns the tables that antigens share into values: vaccine groups, products, conflicts, coded observations."""

from collections.abc import Iterable, Mapping

from care_gap_engine.domain.vaccines import form_tables, model
from care_gap_engine.domain.vaccines.days import period
from care_gap_engine.domain.vaccines.errors import at
from care_gap_engine.domain.vaccines.values import code, length, yes


def vaccine_groups(found: form_tables.Tables) -> tuple[model.VaccineGroup, ...]:
    """The vaccine groups in the order of the file."""
    antigens = {one.name: tuple(one.antigen) for one in found.vaccineGroupToAntigenMap.vaccineGroupMap}
    groups = []
    for one in found.vaccineGroups.vaccineGroup:
        if one.name not in antigens:
            raise ValueError(f"vaccineGroupToAntigenMap: {one.name}: missing")
        groups.append(model.VaccineGroup(one.name, antigens[one.name], yes(one.administerFullVaccineGroup)))
    return tuple(groups)


def products(found: form_tables.Tables, antigens: Iterable[model.Antigen]) -> Mapping[str, model.Product]:
    """The CVX codes with the antigens that each counts for."""
    targets = (target for one in antigens for series in one.series for target in series.targets)
    preferred = {vaccine.cvx for target in targets for vaccine in target.preferable}
    made = {}
    for order, one in enumerate(found.cvxToAntigenMap.cvxMap):
        with at(f"cvxToAntigenMap: CVX {one.cvx}"):
            associations = tuple(
                model.Association(a.antigen, length(a.associationBeginAge), length(a.associationEndAge))
                for a in one.association
            )
            cvx = code(one.cvx)
            made[cvx] = model.Product(cvx, one.shortDescription, associations, order, cvx in preferred)
    return made


def conflicts(found: form_tables.Tables) -> Mapping[str, Mapping[str, model.Conflict]]:
    """By the code of the later dose, then by that of the earlier one."""
    made: dict[str, dict[str, model.Conflict]] = {}
    for one in found.liveVirusConflicts.liveVirusConflict:
        with at(f"liveVirusConflicts: {one.previous.cvx} before {one.current.cvx}"):
            made.setdefault(code(one.current.cvx), {})[code(one.previous.cvx)] = model.Conflict(
                period(one.conflictBeginInterval), period(one.minConflictEndInterval), period(one.conflictEndInterval)
            )
    return made


def observations(found: form_tables.Tables) -> Mapping[str, model.ObservationKind]:
    """The coded observations by their code."""
    made = {}
    for one in found.observations.observation:
        lists = one.codedValues if isinstance(one.codedValues, list) else [one.codedValues]
        codes = tuple((value.codeSystem, value.code) for values in lists for value in values.codedValue)
        made[code(one.observationCode)] = model.ObservationKind(code(one.observationCode), one.observationTitle, codes)
    return made
