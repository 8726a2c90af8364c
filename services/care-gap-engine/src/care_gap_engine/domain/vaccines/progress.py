"""How far one person has come in one series: what evaluation leaves and forecasting reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from care_gap_engine.domain.vaccines.days import Day
from care_gap_engine.domain.vaccines.model import Series
from care_gap_engine.domain.vaccines.patient import Given, Patient


class DoseStatus(StrEnum):
    """Evaluation status of a dose in a series (3.2)."""

    VALID = "valid"
    NOT_VALID = "not valid"
    EXTRANEOUS = "extraneous"
    SUBSTANDARD = "sub-standard"


class Reason(StrEnum):
    """Why a dose has its status; the first one found, in the order of chapter 6."""

    NONE = ""
    SUBSTANDARD = "expired or flagged"
    INADVERTENT = "inadvertent product"
    TOO_YOUNG = "too young"
    TOO_OLD = "too old"
    TOO_SOON = "too soon"
    CONFLICT = "too soon after another live vaccine"
    PRODUCT = "product not for this dose"
    SERIES_COMPLETE = "not needed"
    LOW_VOLUME = "less than the recommended volume"


class Judgement(NamedTuple):
    """A dose in one series; `target` is the number of the target dose it was held against, if any was left."""

    status: DoseStatus
    reason: Reason
    target: int | None


@dataclass(slots=True, eq=False)
class Progress:
    """Grows while the doses are evaluated in order; not changed afterwards.

    `previous` is the last dose that a next one keeps its distance from: valid or not valid, and not inadvertent
    (CALCDTINT-1). `satisfied` has the last dose that satisfied each target.
    """

    series: Series
    patient: Patient
    doses: list[Given]
    complete_groups: Mapping[str, Day]
    position: int = 0
    previous: Given | None = None
    valid: list[Given] = field(default_factory=list)
    satisfied: dict[int, Given] = field(default_factory=dict)
    judgements: dict[Given, Judgement] = field(default_factory=dict)
