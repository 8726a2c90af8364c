"""What a schedule says: the supporting data of CDSi as values (logic specification, chapter 3 and appendix)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from care_gap_engine.domain.vaccines.days import Day, Period

STANDARD, RISK, EVALUATION_ONLY = "Standard", "Risk", "Evaluation Only"

EFFECTIVE = tuple[Day | None, Day | None] | None
"""First day in force and first day no longer in force, None being open; None in place of both: always in force."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Who says so. Shown with every computed date."""

    publisher: str
    version: str
    effective_from: date
    effective_until: date | None
    licence: str
    source: str


@dataclass(frozen=True, slots=True)
class AgeRule:
    """When a dose may and should be given, by age (6.4, 7.5)."""

    absolute_minimum: Period | None
    minimum: Period | None
    earliest_recommended: Period | None
    latest_recommended: Period | None
    maximum: Period | None
    effective: EFFECTIVE


@dataclass(frozen=True, slots=True)
class Interval:
    """How long to wait after something: one of the four references is set (6.5, 6.6, 7.5)."""

    from_previous: bool
    from_target: int | None
    from_most_recent: frozenset[str]
    from_observation: str | None
    absolute_minimum: Period | None
    minimum: Period | None
    earliest_recommended: Period | None
    latest_recommended: Period | None
    priority: bool
    effective: EFFECTIVE


@dataclass(frozen=True, slots=True)
class Vaccine:
    """A product that a target dose takes: preferable or allowable (6.8, 6.9). `volume` in millilitres as published."""

    cvx: str
    name: str
    begin: Period | None
    end: Period | None
    trade_name: str | None = None
    maker: str | None = None
    volume: float | None = None
    forecast: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a conditional skip (6.2); `kind` is age, completed series, interval or count."""

    kind: str
    begin: Period | None = None
    end: Period | None = None
    start_day: Day | None = None
    end_day: Day | None = None
    interval: Period | None = None
    series_groups: frozenset[str] = frozenset()
    count: int = 0
    comparison: str = ""
    valid_only: bool = False
    vaccines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SkipSet:
    """Conditions that together allow a skip: all of them, or any."""

    conditions: tuple[Condition, ...]
    all_needed: bool
    effective: EFFECTIVE


@dataclass(frozen=True, slots=True)
class Skip:
    """When a target dose is not needed: all of its sets, or any (6.2, 7.1)."""

    sets: tuple[SkipSet, ...]
    all_needed: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A dose that a series asks for. `age` is its only age rule, when that one is always in force."""

    number: int
    age: AgeRule | None
    ages: tuple[AgeRule, ...]
    intervals: tuple[Interval, ...]
    allowable_intervals: tuple[Interval, ...]
    preferable: tuple[Vaccine, ...]
    allowable: Mapping[str, tuple[Vaccine, ...]]
    inadvertent: frozenset[str]
    skips_at_evaluation: tuple[Skip, ...]
    skips_at_forecast: tuple[Skip, ...]
    recurring: bool
    season_start: Day | None
    season_end: Day | None


@dataclass(frozen=True, slots=True)
class Indication:
    """An observation that makes a risk series relevant, in an age range (5)."""

    observation: str
    begin: Period | None
    end: Period | None
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One way to become protected against one antigen; `order` is its place in the file.

    `begins_at` is the age below which no dose can be its first, where the schedule gives one without conditions.
    `shared_decision` has the age ranges in which it is offered for a shared clinical decision, not recommended.
    """

    order: int
    name: str
    antigen: str
    vaccine_group: str
    kind: str
    genders: frozenset[str]
    group: str
    equivalent_groups: frozenset[str]
    default: bool
    product: bool
    priority: str
    preference: int
    begins_at: Period | None
    min_age_to_start: Period | None
    max_age_to_start: Period | None
    indications: tuple[Indication, ...]
    targets: tuple[Target, ...]
    guidance: tuple[str, ...]
    asks_for_groups: frozenset[str]
    shared_decision: tuple[tuple[Period | None, Period | None], ...]


@dataclass(frozen=True, slots=True)
class Contraindication:
    """An observation that forbids an antigen, or some of its products (7.3); each product has its own age range."""

    observation: str
    text: str
    begin: Period | None
    end: Period | None
    vaccines: tuple[Vaccine, ...] = ()


@dataclass(frozen=True, slots=True)
class BirthDateImmunity:
    """Who counts as immune by the year of birth (7.2), unless one of the observations excludes it."""

    born_before: Day
    country: str | None
    exclusions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Antigen:
    """What a series protects against, and what else the schedule says about it.

    `series_for_all` needs no indication; `risk_series` has, by observation, those that it can make relevant.
    """

    name: str
    series: tuple[Series, ...]
    series_for_all: tuple[Series, ...]
    risk_series: Mapping[str, tuple[Series, ...]]
    immunity_observations: frozenset[str]
    immunity_by_birth: tuple[BirthDateImmunity, ...]
    contraindications: tuple[Contraindication, ...]
    product_contraindications: tuple[Contraindication, ...]


@dataclass(frozen=True, slots=True)
class Association:
    """An antigen that a product counts for, when given in an age range (4.2)."""

    antigen: str
    begin: Period | None
    end: Period | None


@dataclass(frozen=True, slots=True)
class Product:
    """A CVX code of the schedule. `order` is its place there and settles ties of doses given on one day.

    `preferred`: some target dose prefers it, so it is a product of today, and none of unspecified formulation.
    """

    cvx: str
    name: str
    associations: tuple[Association, ...]
    order: int
    preferred: bool


@dataclass(frozen=True, slots=True)
class VaccineGroup:
    """Antigens that are recommended together. `whole`: every antigen must be given, or none (9.3)."""

    name: str
    antigens: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """Days after `previous` in which another product does not take (6.7)."""

    begin: Period
    minimum_end: Period
    end: Period


@dataclass(frozen=True, slots=True)
class ObservationKind:
    """A coded observation that the schedule knows, with its codes elsewhere as (system, code)."""

    code: str
    title: str
    codes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A whole schedule, ready to be asked."""

    publication: Publication
    antigens: Mapping[str, Antigen]
    groups: tuple[VaccineGroup, ...]
    products: Mapping[str, Product]
    conflicts: Mapping[str, Mapping[str, Conflict]] = field(repr=False)
    observations: Mapping[str, ObservationKind] = field(repr=False)
