"""The compact JSON form of what antigens share: groups, CVX codes, conflicts, coded observations."""

from typing import Annotated

from msgspec import Meta, Struct, field

from care_gap_engine.domain.vaccines.form import Text


class VaccineType(Struct, forbid_unknown_fields=True):
    """One side of a conflict."""

    cvx: Text
    vaccineType: str | None = None


class ConflictForm(Struct, forbid_unknown_fields=True):
    """Chapter 6.7."""

    previous: VaccineType
    current: VaccineType
    conflictBeginInterval: Text
    minConflictEndInterval: Text
    conflictEndInterval: Text


class Conflicts(Struct, forbid_unknown_fields=True):
    """Chapter 6.7."""

    liveVirusConflict: list[ConflictForm] = []


class GroupForm(Struct, forbid_unknown_fields=True):
    """Chapter 9."""

    name: Text
    administerFullVaccineGroup: Text | None = None


class Groups(Struct, forbid_unknown_fields=True):
    """Chapter 9."""

    vaccineGroup: Annotated[list[GroupForm], Meta(min_length=1)]


class GroupMap(Struct, forbid_unknown_fields=True):
    """Chapter 9."""

    name: Text
    antigen: Annotated[list[Text], Meta(min_length=1)]


class GroupMaps(Struct, forbid_unknown_fields=True):
    """Chapter 9."""

    vaccineGroupMap: Annotated[list[GroupMap], Meta(min_length=1)]


class AssociationForm(Struct, forbid_unknown_fields=True):
    """Chapter 4.2."""

    antigen: Text
    associationBeginAge: Text | None = None
    associationEndAge: Text | None = None


class CvxMap(Struct, forbid_unknown_fields=True):
    """Chapter 4.2."""

    cvx: Text
    association: Annotated[list[AssociationForm], Meta(min_length=1)]
    shortDescription: str = ""


class CvxMaps(Struct, forbid_unknown_fields=True):
    """Chapter 4.2."""

    cvxMap: Annotated[list[CvxMap], Meta(min_length=1)]


class CodedValue(Struct, forbid_unknown_fields=True):
    """A code of an observation in another system."""

    code: Text
    codeSystem: Text
    text: str | None = None


class CodedValues(Struct, forbid_unknown_fields=True):
    """The codes of an observation in other systems."""

    codedValue: list[CodedValue] = []


class ObservationForm(Struct, forbid_unknown_fields=True):
    """A coded observation."""

    observationCode: Text
    observationTitle: str = ""
    group: str | None = None
    indicationText: str | None = None
    contraindicationText: str | None = None
    clarifyingText: str | None = None
    codedValues: CodedValues | list[CodedValues] = []


class Observations(Struct, forbid_unknown_fields=True):
    """The coded observations."""

    observation: list[ObservationForm] = []


class Tables(Struct, forbid_unknown_fields=True):
    """What antigens share."""

    vaccineGroups: Groups
    vaccineGroupToAntigenMap: GroupMaps
    cvxToAntigenMap: CvxMaps
    liveVirusConflicts: Conflicts = field(default_factory=Conflicts)
    observations: Observations = field(default_factory=Observations)
