"""Interval rules: who needs a service, what counts as having had it, and when it is due again."""

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from care_gap_engine.domain.chart import Profile
from care_gap_engine.domain.facts import CONCLUSIVE, OBSERVATION, Fact, day_of
from phi_common.events.care_gap import GapState

NUMERIC = re.compile(r"\s*(?:[<>]=?)?\s*\d+(?:\.\d+)?\s*%?\s*")
DECEASED = "deceased"
EXCLUSIONS = frozenset({DECEASED})
Dated = tuple[date | None, Fact | None]


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes of one system; with `prefix`, each covers all that begin with it, but not those in `without`."""

    system: str
    codes: tuple[str, ...]
    prefix: bool = False
    without: tuple[str, ...] = ()

    def has(self, system: str, code: str) -> bool:
        """Whether a code belongs. Dots and case do not matter in prefix lists: many senders write `E119`."""
        if system != self.system:
            return False
        if not self.prefix:
            return code in self.codes
        bare = code.replace(".", "").upper()
        return bare.startswith(self.codes) and not bare.startswith(self.without)


@dataclass(frozen=True, slots=True)
class Rule:
    """One protocol: people with one of `conditions` need one of `evidence` every `months`."""

    id: str
    version: str
    authority: str
    sources: tuple[str, ...]
    licence: str
    effective_from: date
    effective_until: date | None
    """First day on which the rule no longer holds."""
    conditions: tuple[Codes, ...]
    exclusions: frozenset[str]
    evidence: tuple[Codes, ...]
    months: int
    interval_source: str
    horizon_days: int
    texts: Mapping[str, Mapping[str, str]] = field(compare=False)

    def reads(self, fact: Fact) -> bool:
        """Whether a fact can matter to this rule."""
        lists = self.evidence if fact.kind == OBSERVATION else self.conditions
        # A loop on purpose: `any` with a generator takes three times as long, and this is the hot path.
        for codes in lists:  # noqa: SIM110
            if codes.has(fact.system, fact.code):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a rule stands on one day, the fact it counts from, and the first day on which time changes it."""

    state: GapState
    due: date | None = None
    evidence: Fact | None = None
    day: date | None = None
    """The day of the evidence."""
    changes: date | None = None


def evaluate(rule: Rule, profile: Profile, facts: tuple[Fact, ...], today: date) -> Verdict:
    """Judge one rule as of a local day. Absence of data is `unknown`, never `not done`."""
    if DECEASED in rule.exclusions and profile.deceased:
        return Verdict(GapState.NOT_APPLICABLE)
    if today < rule.effective_from:
        return Verdict(GapState.NOT_APPLICABLE, changes=rule.effective_from)
    if rule.effective_until is not None and today >= rule.effective_until:
        return Verdict(GapState.NOT_APPLICABLE)
    zone = ZoneInfo(profile.zone)
    ends = has_until(rule, facts, today, zone)
    if ends is None:
        return Verdict(GapState.NOT_APPLICABLE)
    day, evidence = latest(rule, facts, today, zone)
    if day is None:
        verdict = Verdict(GapState.UNKNOWN)
    else:
        due = add_months(day, rule.months)
        state, changes = stand(due, rule.horizon_days, today)
        verdict = Verdict(state, due, evidence, day, changes)
    return bounded(verdict, min(ends, rule.effective_until or date.max))


def stand(due: date, horizon_days: int, today: date) -> tuple[GapState, date | None]:
    """The state on a day by the due date alone, and the day on which it changes."""
    soon = due - timedelta(days=horizon_days)
    if today < soon:
        return GapState.CLOSED, soon
    if today < due:
        return GapState.DUE_SOON, due
    if today == due:
        return GapState.OPEN, due + timedelta(days=1)
    return GapState.OVERDUE, None


def bounded(verdict: Verdict, end: date) -> Verdict:
    """The verdict, changing no later than the day on which the rule stops to apply."""
    if end == date.max or (verdict.changes is not None and verdict.changes <= end):
        return verdict
    return Verdict(verdict.state, verdict.due, verdict.evidence, verdict.day, end)


def has_until(rule: Rule, facts: tuple[Fact, ...], today: date, zone: ZoneInfo) -> date | None:
    """Until which day a condition that makes the rule apply is known to last; None if there is none today."""
    last: date | None = None
    for fact in facts:
        if fact.is_present_condition and rule.reads(fact):
            end = day_of(fact.ended, zone) or date.max
            if end > today and (last is None or end > last):
                last = end
    return last


def latest(rule: Rule, facts: tuple[Fact, ...], today: date, zone: ZoneInfo) -> Dated:
    """The youngest result that counts: final, with a number, and not dated after the day on which it came."""
    best: Dated = (None, None)
    for fact in facts:
        if not (fact.kind == OBSERVATION and fact.status in CONCLUSIVE and rule.reads(fact)):
            continue
        if fact.value is None or not NUMERIC.fullmatch(fact.value):
            continue
        day = day_of(fact.effective, zone)
        if day is None or day > today or day > fact.recorded.astimezone(zone).date():
            continue
        if best[0] is None or day >= best[0]:
            best = (day, fact)
    return best


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last one of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
