"""The compact JSON form of a schedule, element by element as the CDC names them in its supporting data.

Unknown elements are refused: a part of a schedule that is read over would give dates that nobody published.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

Text = Annotated[str, Meta(min_length=1)]


class Coded(Struct, forbid_unknown_fields=True):
    """A reference to an observation."""

    code: Text
    text: str | None = None


class Age(Struct, forbid_unknown_fields=True):
    """Chapter 6.4 and 7.5."""

    absMinAge: Text | None = None
    minAge: Text | None = None
    earliestRecAge: Text | None = None
    latestRecAge: Text | None = None
    maxAge: Text | None = None
    effectiveDate: Text | None = None
    cessationDate: Text | None = None


class IntervalForm(Struct, forbid_unknown_fields=True):
    """Chapter 6.5, 6.6 and 7.5."""

    fromPrevious: Text | None = None
    fromTargetDose: Text | None = None
    fromMostRecent: Text | None = None
    fromRelevantObs: Coded | None = None
    absMinInt: Text | None = None
    minInt: Text | None = None
    earliestRecInt: Text | None = None
    latestRecInt: Text | None = None
    intervalPriority: Text | None = None
    effectiveDate: Text | None = None
    cessationDate: Text | None = None


class VaccineForm(Struct, forbid_unknown_fields=True):
    """Chapter 6.3, 6.8 and 6.9."""

    cvx: Text
    vaccineType: str | None = None
    beginAge: Text | None = None
    endAge: Text | None = None
    tradeName: Text | None = None
    mvx: Text | None = None
    volume: Text | None = None
    forecastVaccineType: Text | None = None


class ConditionForm(Struct, forbid_unknown_fields=True):
    """Chapter 6.2."""

    conditionType: Text
    conditionID: str | None = None
    startDate: Text | None = None
    endDate: Text | None = None
    beginAge: Text | None = None
    endAge: Text | None = None
    interval: Text | None = None
    doseCount: Text | None = None
    doseType: Text | None = None
    doseCountLogic: Text | None = None
    vaccineTypes: Text | None = None
    seriesGroups: Text | None = None


class SetForm(Struct, forbid_unknown_fields=True):
    """Chapter 6.2."""

    condition: Annotated[list[ConditionForm], Meta(min_length=1)]
    setID: str | None = None
    setDescription: str | None = None
    effectiveDate: Text | None = None
    cessationDate: Text | None = None
    conditionLogic: Text | None = None


class SkipForm(Struct, forbid_unknown_fields=True):
    """Chapter 6.2."""

    context: Text
    set: Annotated[list[SetForm], Meta(min_length=1)]
    setLogic: Text | None = None


class Season(Struct, forbid_unknown_fields=True):
    """Chapter 7.4 and 7.5."""

    startDate: Text | None = None
    endDate: Text | None = None


class SeriesDose(Struct, forbid_unknown_fields=True):
    """A target dose."""

    doseNumber: Text
    recurringDose: Text
    age: list[Age] = []
    interval: list[IntervalForm] = []
    allowableInterval: IntervalForm | list[IntervalForm] = []
    preferableVaccine: list[VaccineForm] = []
    allowableVaccine: list[VaccineForm] = []
    inadvertentVaccine: list[VaccineForm] = []
    conditionalSkip: list[SkipForm] = []
    seasonalRecommendation: Season | None = None


class SelectSeries(Struct, forbid_unknown_fields=True):
    """Chapter 8."""

    defaultSeries: Text
    productPath: Text
    seriesGroup: Text
    seriesPriority: Text
    seriesGroupName: str | None = None
    seriesPreference: Text | None = None
    minAgeToStart: Text | None = None
    maxAgeToStart: Text | None = None


class IndicationForm(Struct, forbid_unknown_fields=True):
    """Chapter 5."""

    observationCode: Coded
    description: str = ""
    beginAge: Text | None = None
    endAge: Text | None = None
    guidance: str | None = None


class SeriesForm(Struct, forbid_unknown_fields=True):
    """An antigen series."""

    seriesName: Text
    targetDisease: Text
    vaccineGroup: Text
    seriesType: Text
    selectSeries: SelectSeries
    seriesDose: Annotated[list[SeriesDose], Meta(min_length=1)]
    seriesAdminGuidance: list[str] = []
    equivalentSeriesGroups: Text | None = None
    requiredGender: list[Text] = []
    indication: list[IndicationForm] = []


class History(Struct, forbid_unknown_fields=True):
    """An observation that proves immunity (7.2)."""

    guidelineCode: Text
    guidelineTitle: str | None = None


class Exclusion(Struct, forbid_unknown_fields=True):
    """An observation under which a year of birth proves nothing (7.2)."""

    exclusionCode: Text
    exclusionTitle: str | None = None


class BirthDate(Struct, forbid_unknown_fields=True):
    """Chapter 7.2."""

    immunityBirthDate: Text
    birthCountry: Text | None = None
    exclusion: list[Exclusion] = []


class Immunity(Struct, forbid_unknown_fields=True):
    """Chapter 7.2."""

    clinicalHistory: list[History] = []
    dateOfBirth: BirthDate | list[BirthDate] = []


class ContraindicationForm(Struct, forbid_unknown_fields=True):
    """Chapter 7.3."""

    observationCode: Text
    observationTitle: str | None = None
    contraindicationText: str = ""
    contraindicationGuidance: str | None = None
    beginAge: Text | None = None
    endAge: Text | None = None
    contraindicatedVaccine: list[VaccineForm] = []


class ContraindicationList(Struct, forbid_unknown_fields=True):
    """Chapter 7.3."""

    contraindication: list[ContraindicationForm] = []


class Contraindications(Struct, forbid_unknown_fields=True):
    """Chapter 7.3."""

    vaccineGroup: ContraindicationList = field(default_factory=ContraindicationList)
    vaccine: ContraindicationList = field(default_factory=ContraindicationList)


class AntigenForm(Struct, forbid_unknown_fields=True):
    """All that a schedule says about one antigen."""

    series: Annotated[list[SeriesForm], Meta(min_length=1)]
    immunity: Immunity = field(default_factory=Immunity)
    contraindications: Contraindications = field(default_factory=Contraindications)


class Head(Struct, forbid_unknown_fields=True):
    """Who publishes the schedule, which version, since when, and on what terms."""

    source: Text
    version: Text
    published: Text
    publisher: Text | None = None
    effective_from: Text | None = None
    effective_until: Text | None = None
    licence: Text | None = None
