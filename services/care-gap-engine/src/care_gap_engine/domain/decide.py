"""The deciders: what a result, a diagnosis, a profile or the passing of time means for a patient's gaps."""

from bisect import insort
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from operator import attrgetter
from uuid import UUID
from zoneinfo import ZoneInfo

from care_gap_engine.domain.chart import Chart, Episode, Gap, Profile
from care_gap_engine.domain.facts import Fact, diagnosed, observed
from care_gap_engine.domain.rules import Rule, Verdict, evaluate
from phi_common.decision import DeadLettered, Decision, TimePassed
from phi_common.events import Event
from phi_common.events.care_gap import ClosedBy, GapClosed, GapDueSoon, GapOpened, GapState
from phi_common.events.clinical import ConditionRecorded, ObservationReceived
from phi_common.events.patients import ProfileChanged

OPEN = (GapState.OPEN, GapState.OVERDUE)
LIVE = (GapState.DUE_SOON, *OPEN)
ENDED_BY = {
    GapState.CLOSED: ClosedBy.EVIDENCE,
    GapState.DUE_SOON: ClosedBy.EVIDENCE,
    GapState.NOT_APPLICABLE: ClosedBy.NOT_APPLICABLE,
    GapState.EXCLUDED: ClosedBy.EXCLUDED,
    GapState.UNKNOWN: ClosedBy.RETRACTED,
}
DOUBTFUL = Verdict(GapState.UNKNOWN)


@dataclass(frozen=True)
class Protocols:
    """The rules in force. Each method but `learn` is a decider."""

    rules: tuple[Rule, ...]

    def observe(self, chart: Chart, event: ObservationReceived, now: datetime) -> Decision[Chart]:
        """Add or correct one result."""
        return self.learn(chart, observed(event, now), now)

    def diagnose(self, chart: Chart, event: ConditionRecorded, now: datetime) -> Decision[Chart]:
        """Add or correct one diagnosis."""
        return self.learn(chart, diagnosed(event, now), now)

    def change_profile(self, chart: Chart, event: ProfileChanged, now: datetime) -> Decision[Chart]:
        """Take over what is known of the person; facts that came before are judged again."""
        profile = Profile(event.birth_date, event.sex.value, event.deceased, event.zone)
        if profile == chart.profile:
            return Decision(chart)
        return judge(replace(chart, profile=profile), self.rules, now)

    def pass_time(self, chart: Chart, _: TimePassed, now: datetime) -> Decision[Chart]:
        """A stored instant of change has come."""
        return judge(chart, self.rules, now)

    def doubt(self, chart: Chart, _: DeadLettered, now: datetime) -> Decision[Chart]:
        """A fact of this patient could not be read: what is due is unknown until it can."""
        return judge(replace(chart, doubted=True), self.rules, now)

    def learn(self, chart: Chart, fact: Fact, now: datetime) -> Decision[Chart]:
        """Keep a fact, and judge the rules that read it or what it replaces."""
        before = next((known for known in chart.facts if known.identity == fact.identity), None)
        facts = chart.facts
        touched: tuple[Rule, ...] = ()
        if before is None or fact.replaces(before):
            touched = readers = tuple(rule for rule in self.rules if rule.reads(fact))
            if before is not None:
                touched += tuple(rule for rule in self.rules if rule not in readers and rule.reads(before))
            facts = swapped(facts, before, fact if readers and not fact.retracted else None)
        if not chart.doubted and any(gap.doubted for gap in chart.gaps):
            touched = self.rules
        known = chart.with_facts(facts, fact)
        return judge(known, touched, now) if touched else Decision(known)


def swapped(facts: tuple[Fact, ...], old: Fact | None, new: Fact | None) -> tuple[Fact, ...]:
    """The facts, ordered by identity and so independent of arrival, with one taken out and one put in."""
    kept = [fact for fact in facts if fact is not old]
    if new is not None:
        insort(kept, new, key=attrgetter("identity"))
    return tuple(kept)


def judge(chart: Chart, rules: tuple[Rule, ...], now: datetime) -> Decision[Chart]:
    """Judge some rules anew and tell what has changed."""
    zone = ZoneInfo(chart.profile.zone)
    today = now.astimezone(zone).date()
    gaps = {gap.rule: gap for gap in chart.gaps}
    events: list[Event] = []
    episodes = list(chart.episodes)
    for rule in rules:
        before = gaps.get(rule.id) or Gap(rule.id)
        verdict = evaluate(rule, chart.profile, chart.facts, today)
        if chart.doubted and verdict.state is not GapState.NOT_APPLICABLE:
            verdict = DOUBTFUL
        after = advanced(before, rule, verdict, now, today, zone)
        if after != before:
            gaps[rule.id] = after
            events += told(chart.patient_id, before, after, verdict, today)
            episodes += recorded(chart.patient_id, before, after, now)
    after_gaps = tuple(gaps[rule] for rule in sorted(gaps))
    return Decision(chart.with_gaps(after_gaps, tuple(episodes)), tuple(events))


def advanced(before: Gap, rule: Rule, verdict: Verdict, now: datetime, today: date, zone: ZoneInfo) -> Gap:
    """The gap after a verdict: the same episode, its end, or a new one."""
    until = None
    if verdict.changes is not None:
        until = datetime.combine(verdict.changes, time(), zone).astimezone(now.tzinfo)
    same_state = verdict.state is before.state and before.since is not None
    live = verdict.state in LIVE
    begins = live and (before.state not in LIVE or renewed(before, verdict))
    opened = None if begins or not live else before.opened
    return Gap(
        rule=rule.id,
        version=rule.version,
        state=verdict.state,
        episode=before.episode + begins,
        due=verdict.due,
        since=before.since if same_state and not begins else today,
        opened=opened or (now if verdict.state in OPEN else None),
        until=until,
        evidence=verdict.evidence.identity if verdict.evidence else None,
        doubted=verdict is DOUBTFUL,
    )


def renewed(before: Gap, verdict: Verdict) -> bool:
    """A younger result ended the episode, though the next due date is already near."""
    if verdict.state is not GapState.DUE_SOON or verdict.due is None or before.due is None:
        return False
    return verdict.due > before.due


def ends(before: Gap, after: Gap) -> bool:
    """Whether the episode of `before` is over."""
    return before.state in LIVE and (after.state not in LIVE or after.episode != before.episode)


def told(patient_id: UUID, before: Gap, after: Gap, verdict: Verdict, today: date) -> list[Event]:
    """The events of one step: an end, then a beginning. An episode is announced as open exactly once."""
    events: list[Event] = []
    if ends(before, after):
        by = ClosedBy.OTHER if after.doubted else ENDED_BY[after.state]
        on = verdict.day if by is ClosedBy.EVIDENCE else today
        events.append(
            GapClosed(
                patient_id=patient_id, gap_id=before.id_for(patient_id), rule=before.rule,
                rule_version=before.version, by=by, on=on,
            )
        )  # fmt: skip
    if after.state not in LIVE:
        return events
    same = after.episode == before.episode
    about = {"patient_id": patient_id, "rule": after.rule, "rule_version": after.version, "due": after.due}
    if after.state is GapState.DUE_SOON and not same:
        events.append(GapDueSoon(gap_id=after.id_for(patient_id), **about))
    if after.state in OPEN and not (same and before.opened):
        events.append(GapOpened(gap_id=after.id_for(patient_id), state=after.state, **about))
    return events


def recorded(patient_id: UUID, before: Gap, after: Gap, now: datetime) -> list[Episode]:
    """What the clear table learns from one step."""
    rows = []
    if ends(before, after):
        state = GapState.CLOSED if after.state in LIVE else after.state
        rows.append(Episode(before.id_for(patient_id), before.rule, state, before.opened, now))
    if after.state in LIVE and (after.episode, after.state) != (before.episode, before.state):
        rows.append(Episode(after.id_for(patient_id), after.rule, after.state, after.opened))
    return rows
