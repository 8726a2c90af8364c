"""Why a rule stands where it stands, in words for people."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from care_gap_engine.domain.chart import Chart, Gap
from care_gap_engine.domain.facts import Fact
from care_gap_engine.domain.rules import Rule
from phi_common.events.care_gap import GapState

LANGUAGES = ("en", "es")
REASONS = tuple(state.value for state in GapState if state not in (GapState.EXCLUDED, GapState.OTHER))
DOUBTED = "doubted"
TEXTS = ("title", "closes", "missing", DOUBTED, *REASONS)


@dataclass(frozen=True)
class Evidence:
    """A fact that was used, and where it came from."""

    system: str
    code: str
    effective: str | None
    value: str | None
    unit: str | None
    source: str
    source_message: UUID


@dataclass(frozen=True)
class Explanation:
    """All that a person needs to agree or to object."""

    rule: str
    version: str
    title: str
    authority: str
    sources: tuple[str, ...]
    licence: str
    interval_months: int
    interval_source: str
    reason: str
    evidence: tuple[Evidence, ...]
    missing: str | None
    closes: str | None
    next_change: datetime | None


def explain(rule: Rule, chart: Chart, language: str) -> Explanation:
    """The explanation of one rule for one patient; the words are the rule pack's own."""
    gap = chart.gap(rule.id)
    words = rule.texts[language]
    used = tuple(evidence_of(fact) for fact in chart.facts if counts(rule, gap, fact))
    last = next((fact.effective for fact in chart.facts if fact.identity == gap.evidence), None)
    absent = gap.state is GapState.UNKNOWN and not gap.doubted
    reason = DOUBTED if gap.doubted else gap.state.value
    wanted = gap.state in (GapState.UNKNOWN, GapState.DUE_SOON, GapState.OPEN, GapState.OVERDUE)
    return Explanation(
        rule=rule.id,
        version=gap.version or rule.version,
        title=words["title"],
        authority=rule.authority,
        sources=rule.sources,
        licence=rule.licence,
        interval_months=rule.months,
        interval_source=rule.interval_source,
        reason=words[reason].format(due=gap.due, last=last, months=rule.months),
        evidence=used,
        missing=words["missing"] if absent else None,
        closes=words["closes"] if wanted else None,
        next_change=gap.until,
    )


def counts(rule: Rule, gap: Gap, fact: Fact) -> bool:
    """The result that the due date counts from, and the diagnoses that make the rule apply."""
    if gap.state is GapState.NOT_APPLICABLE:
        return False
    return fact.identity == gap.evidence or (fact.is_present_condition and rule.reads(fact))


def evidence_of(fact: Fact) -> Evidence:
    """One fact as shown."""
    return Evidence(fact.system, fact.code, fact.effective, fact.value, fact.unit, fact.source, fact.message)
