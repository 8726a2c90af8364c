"""A patient as the rules see one: profile, the facts that some rule reads, and where each rule stands."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from uuid import UUID, uuid5

from care_gap_engine.domain.facts import Fact
from phi_common.events.care_gap import GapState

GAPS = UUID("5f0c3a53-4c0e-5d0a-9a57-0d0f1c9f6f5e")


@lru_cache(maxsize=1024)
def gap_id(patient_id: UUID, rule: str, episode: int) -> UUID:
    """The id of one episode."""
    return uuid5(GAPS, f"{patient_id}/{rule}/{episode}")


@dataclass(frozen=True, slots=True)
class Profile:
    """What the rules may know of a person. Until a profile comes, facts are judged all the same."""

    birth_date: date | None = None
    sex: str = "unknown"
    deceased: bool = False
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Gap:
    """Where one rule stands for the patient. `episode` counts how often care fell due; 0 is never."""

    rule: str
    version: str = ""
    state: GapState = GapState.NOT_APPLICABLE
    episode: int = 0
    due: date | None = None
    since: date | None = None
    opened: datetime | None = None
    """When this episode was announced as open; None while it is only due soon."""
    until: datetime | None = None
    """When time alone ends this state."""
    evidence: tuple[str, str] | None = None
    """Identity of the fact that the due date counts from."""
    doubted: bool = False
    """Unknown because a fact of this patient could not be read, whatever the others say."""

    def id_for(self, patient_id: UUID) -> UUID:
        """The same episode has the same id, however often its history is replayed."""
        return gap_id(patient_id, self.rule, self.episode)


@dataclass(frozen=True, slots=True)
class Episode:
    """What the clear table of gaps has to know about one episode."""

    gap_id: UUID
    rule: str
    state: GapState
    opened: datetime | None
    closed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """One patient's state. `news` and `episodes` are what this transaction adds; they are empty once loaded.

    `doubted` says that a fact of this patient waits as a dead letter: what is on record may not be all.
    """

    patient_id: UUID
    profile: Profile = Profile()
    facts: tuple[Fact, ...] = ()
    gaps: tuple[Gap, ...] = ()
    news: tuple[Fact, ...] = ()
    episodes: tuple[Episode, ...] = ()
    doubted: bool = False

    @property
    def next_change(self) -> datetime | None:
        """The next instant at which some state changes by time alone."""
        return min((gap.until for gap in self.gaps if gap.until is not None), default=None)

    def gap(self, rule: str) -> Gap:
        """Where a rule stands; one never judged does not apply."""
        return next((gap for gap in self.gaps if gap.rule == rule), None) or Gap(rule)

    def with_facts(self, facts: tuple[Fact, ...], new: Fact) -> "Chart":
        """The chart with other current facts, and one more for the history."""
        news = (*self.news, new)
        return Chart(self.patient_id, self.profile, facts, self.gaps, news, self.episodes, self.doubted)

    def with_gaps(self, gaps: tuple[Gap, ...], episodes: tuple[Episode, ...]) -> "Chart":
        """The chart after judging."""
        return Chart(self.patient_id, self.profile, self.facts, gaps, self.news, episodes, self.doubted)
