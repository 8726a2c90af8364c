"""Turns the forms of a schedule file into the values that the functions of the specification read."""

import re
from collections.abc import Iterable, Mapping

from care_gap_engine.domain.vaccines import form, model
from care_gap_engine.domain.vaccines.days import Period, period
from care_gap_engine.domain.vaccines.errors import at
from care_gap_engine.domain.vaccines.values import code, codes, day, length, names, one_of, yes

SHARED = re.compile(r"shared clinical decision", re.IGNORECASE)
SHARED_AGES = re.compile(r"persons (?:aged )?(\d{1,3})-(\d{1,3}) years")
KINDS = {
    "age": "age", "completed series": "completed series", "interval": "interval", "vaccine count by age": "count",
    "vaccine count by date": "count", "vaccine count by date and age": "count",
}  # fmt: skip
COMPARISONS = ("greater than", "equal to", "less than")
NO_PREFERENCE = 1_000


def antigen(name: str, found: form.AntigenForm) -> model.Antigen:
    """One antigen with its series; raises `ScheduleError` with the element."""
    series = []
    for number, one in enumerate(found.series):
        with at(f"series[{number}] {one.seriesName!r}"):
            series.append(_series(number, one))
    with at("immunity"):
        births = found.immunity.dateOfBirth
        by_birth = tuple(_by_birth(one) for one in (births if isinstance(births, list) else [births]))
    with at("contraindications"):
        forbidden = tuple(_contraindication(one) for one in found.contraindications.vaccineGroup.contraindication)
        products = tuple(_contraindication(one) for one in found.contraindications.vaccine.contraindication)
    histories = frozenset(code(one.guidelineCode) for one in found.immunity.clinicalHistory)
    for_all = tuple(one for one in series if one.kind != model.RISK)
    return model.Antigen(
        name=name,
        series=tuple(series),
        series_for_all=for_all,
        risk_series=_by_observation(series),
        immunity_observations=histories,
        immunity_by_birth=by_birth,
        contraindications=forbidden,
        product_contraindications=products,
    )


def _by_observation(series: Iterable[model.Series]) -> Mapping[str, tuple[model.Series, ...]]:
    found: dict[str, dict[str, model.Series]] = {}
    for one in series:
        for indication in one.indications if one.kind == model.RISK else ():
            found.setdefault(indication.observation, {})[one.name] = one
    return {observation: tuple(named.values()) for observation, named in found.items()}


def _by_birth(found: form.BirthDate) -> model.BirthDateImmunity:
    born_before = day(found.immunityBirthDate)
    assert born_before is not None
    excluded = frozenset(code(one.exclusionCode) for one in found.exclusion)
    return model.BirthDateImmunity(born_before, found.birthCountry, excluded)


def _contraindication(found: form.ContraindicationForm) -> model.Contraindication:
    return model.Contraindication(
        code(found.observationCode), found.contraindicationText, length(found.beginAge), length(found.endAge),
        tuple(_vaccine(one) for one in found.contraindicatedVaccine),
    )  # fmt: skip


def _series(order: int, found: form.SeriesForm) -> model.Series:
    kind = {"standard": model.STANDARD, "risk": model.RISK, "evaluation only": model.EVALUATION_ONLY}[
        one_of(found.seriesType, ("standard", "risk", "evaluation only"), "")
    ]
    chosen, targets = found.selectSeries, []
    for number, dose in enumerate(found.seriesDose):
        with at(f"seriesDose[{number}]"):
            targets.append(_target(dose))
    asked = (c.series_groups for t in targets for skip in (*t.skips_at_evaluation, *t.skips_at_forecast)
             for s in skip.sets for c in s.conditions)  # fmt: skip
    return model.Series(
        order=order,
        name=found.seriesName,
        antigen=found.targetDisease,
        vaccine_group=found.vaccineGroup,
        kind=kind,
        genders=frozenset(gender.strip().lower() for gender in found.requiredGender),
        group=chosen.seriesGroup.strip(),
        equivalent_groups=names(found.equivalentSeriesGroups),
        default=yes(chosen.defaultSeries),
        product=yes(chosen.productPath),
        priority=chosen.seriesPriority.strip().upper(),
        preference=int(chosen.seriesPreference) if chosen.seriesPreference else NO_PREFERENCE,
        begins_at=_begins_at(targets[0]),
        min_age_to_start=length(chosen.minAgeToStart),
        max_age_to_start=length(chosen.maxAgeToStart),
        indications=tuple(
            model.Indication(code(one.observationCode.code), length(one.beginAge), length(one.endAge), one.description)
            for one in found.indication
        ),
        targets=tuple(targets),
        guidance=tuple(found.seriesAdminGuidance),
        asks_for_groups=frozenset[str]().union(*asked),
        shared_decision=tuple(_shared_decision(found)),
    )


def _begins_at(first: model.Target) -> Period | None:
    return first.age.absolute_minimum if first.age and not first.skips_at_evaluation else None


def _shared_decision(found: form.SeriesForm) -> Iterable[tuple[Period | None, Period | None]]:
    """Said by the name of a series, then at any age; or by its guidance, then for the ages that it names."""
    if SHARED.search(found.seriesName):
        yield None, None
    for text in found.seriesAdminGuidance:
        ages = SHARED_AGES.search(text)
        if ages and SHARED.search(text):
            yield period(f"{ages[1]} years"), period(f"{int(ages[2]) + 1} years")


def _target(found: form.SeriesDose) -> model.Target:
    allowable = found.allowableInterval if isinstance(found.allowableInterval, list) else [found.allowableInterval]
    ages = tuple(_age(one) for one in found.age)
    season = found.seasonalRecommendation or form.Season()
    skips = [(one_of(one.context, ("evaluation", "forecast", "both"), ""), _skip(one)) for one in found.conditionalSkip]
    return model.Target(
        number=int(found.doseNumber.lower().removeprefix("dose")),
        age=ages[0] if len(ages) == 1 and ages[0].effective is None else None,
        ages=ages,
        intervals=tuple(_interval(one) for one in found.interval),
        allowable_intervals=tuple(_interval(one) for one in allowable),
        preferable=tuple(_vaccine(one) for one in found.preferableVaccine),
        allowable=_by_cvx(_vaccine(one) for one in found.allowableVaccine),
        inadvertent=frozenset(code(one.cvx) for one in found.inadvertentVaccine),
        skips_at_evaluation=tuple(skip for context, skip in skips if context != "forecast"),
        skips_at_forecast=tuple(skip for context, skip in skips if context != "evaluation"),
        recurring=yes(found.recurringDose),
        season_start=day(season.startDate),
        season_end=day(season.endDate),
    )


def _by_cvx(vaccines: Iterable[model.Vaccine]) -> Mapping[str, tuple[model.Vaccine, ...]]:
    found: dict[str, tuple[model.Vaccine, ...]] = {}
    for one in vaccines:
        found[one.cvx] = (*found.get(one.cvx, ()), one)
    return found


def _age(found: form.Age) -> model.AgeRule:
    return model.AgeRule(
        length(found.absMinAge), length(found.minAge), length(found.earliestRecAge), length(found.latestRecAge),
        length(found.maxAge), _effective(found.effectiveDate, found.cessationDate),
    )  # fmt: skip


def _effective(first: str | None, last: str | None) -> model.EFFECTIVE:
    """In force until the cessation day, that day included: the next rule begins the day after it."""
    begun, ceased = day(first), day(last)
    if begun is None and ceased is None:
        return None
    return begun, None if ceased is None else ceased + 1


def _interval(found: form.IntervalForm) -> model.Interval:
    one_of(found.intervalPriority, ("override", ""), "")
    return model.Interval(
        from_previous=yes(found.fromPrevious),
        from_target=int(found.fromTargetDose) if found.fromTargetDose else None,
        from_most_recent=codes(found.fromMostRecent),
        from_observation=code(found.fromRelevantObs.code) if found.fromRelevantObs else None,
        absolute_minimum=length(found.absMinInt),
        minimum=length(found.minInt),
        earliest_recommended=length(found.earliestRecInt),
        latest_recommended=length(found.latestRecInt),
        priority=bool(found.intervalPriority),
        effective=_effective(found.effectiveDate, found.cessationDate),
    )


def _vaccine(found: form.VaccineForm) -> model.Vaccine:
    return model.Vaccine(
        code(found.cvx), found.vaccineType or "", length(found.beginAge), length(found.endAge), found.tradeName,
        found.mvx, float(found.volume) if found.volume else None, yes(found.forecastVaccineType),
    )  # fmt: skip


def _skip(found: form.SkipForm) -> model.Skip:
    sets = tuple(_set(one) for one in found.set)
    return model.Skip(sets, one_of(found.setLogic, ("and", "or"), "or") == "and")


def _set(found: form.SetForm) -> model.SkipSet:
    conditions = tuple(_condition(one) for one in found.condition)
    effective = _effective(found.effectiveDate, found.cessationDate)
    return model.SkipSet(conditions, one_of(found.conditionLogic, ("and", "or"), "and") == "and", effective)


def _condition(found: form.ConditionForm) -> model.Condition:
    kind = KINDS[one_of(found.conditionType, KINDS, "")]
    counted = kind == "count"
    if counted and found.doseCount is None:
        raise ValueError("a vaccine count without doseCount")
    if kind == "interval" and found.interval is None:
        raise ValueError("an interval condition without interval")
    if kind == "completed series" and found.seriesGroups is None:
        raise ValueError("a completed series condition without seriesGroups")
    return model.Condition(
        kind=kind,
        begin=length(found.beginAge),
        end=length(found.endAge),
        start_day=day(found.startDate),
        end_day=day(found.endDate),
        interval=length(found.interval),
        series_groups=names(found.seriesGroups),
        count=int(found.doseCount or 0),
        comparison=one_of(found.doseCountLogic, COMPARISONS, "" if counted else COMPARISONS[0]),
        valid_only=one_of(found.doseType, ("valid", "total"), "total") == "valid",
        vaccines=codes(found.vaccineTypes),
    )
