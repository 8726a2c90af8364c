"""The compact JSON form of what antigens share: groups, CVX codes, conflicts, coded observations."""

from typing import Annotated

from msgspec import Meta

from care_gap_engine.domain.vaccines.form import Element, Text


class VaccineType(Element):
    """One side of a conflict."""

    cvx: Text
    vaccineType: str | None = None


class ConflictForm(Element):
    """Chapter 6.7."""

    previous: VaccineType
    current: VaccineType
    conflictBeginInterval: Text
    minConflictEndInterval: Text
    conflictEndInterval: Text


class Conflicts(Element):
    """Chapter 6.7."""

    liveVirusConflict: list[ConflictForm] = []


class GroupForm(Element):
    """Chapter 9."""

    name: Text
    administerFullVaccineGroup: Text | None = None


class Groups(Element):
    """Chapter 9."""

    vaccineGroup: Annotated[list[GroupForm], Meta(min_length=1)]


class GroupMap(Element):
    """Chapter 9."""

    name: Text
    antigen: Annotated[list[Text], Meta(min_length=1)]


class GroupMaps(Element):
    """Chapter 9."""

    vaccineGroupMap: Annotated[list[GroupMap], Meta(min_length=1)]


class AssociationForm(Element):
    """Chapter 4.2."""

    antigen: Text
    associationBeginAge: Text | None = None
    associationEndAge: Text | None = None


class CvxMap(Element):
    """Chapter 4.2."""

    cvx: Text
    association: Annotated[list[AssociationForm], Meta(min_length=1)]
    shortDescription: str = ""


class CvxMaps(Element):
    """Chapter 4.2."""

    cvxMap: Annotated[list[CvxMap], Meta(min_length=1)]


class CodedValue(Element):
    """A code of an observation in another system."""

    code: Text
    codeSystem: Text
    text: str | None = None


class CodedValues(Element):
    """The codes of an observation in other systems."""

    codedValue: list[CodedValue] = []


class ObservationForm(Element):
    """A coded observation."""

    observationCode: Text
    observationTitle: str = ""
    group: str | None = None
    indicationText: str | None = None
    contraindicationText: str | None = None
    clarifyingText: str | None = None
    codedValues: CodedValues | None = None


class Observations(Element):
    """The coded observations."""

    observation: list[ObservationForm] = []


class Tables(Element):
    """What antigens share."""

    vaccineGroups: Groups
    vaccineGroupToAntigenMap: GroupMaps
    cvxToAntigenMap: CvxMaps
    liveVirusConflicts: Conflicts = Conflicts()
    observations: Observations = Observations()
