"""What is due for a patient, and why, in English or Spanish."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel

from care_gap_engine import storage
from care_gap_engine.domain.chart import Chart
from care_gap_engine.domain.explain import LANGUAGES, Explanation, explain
from care_gap_engine.domain.rules import Rule
from care_gap_engine.packs import PROTOCOLS
from phi_common.auth import Principal, requires

GAPS_READ = "gaps:read"

router = APIRouter()


class GapView(BaseModel):
    """Where one rule stands. `since` is the day on which the state was reached; None if never judged."""

    gap_id: UUID
    rule: str
    state: str
    due: date | None
    since: date | None
    explanation: Explanation


class GapsView(BaseModel):
    """Every rule that this service knows, for one patient."""

    patient_id: UUID
    gaps: list[GapView]


@router.get("/patients/{patient_id}/gaps")
async def gaps_of(
    patient_id: UUID,
    request: Request,
    principal: Annotated[Principal, Depends(requires(GAPS_READ))],
    accept_language: Annotated[str, Header()] = "en",
) -> GapsView:
    """What is due, overdue, closed or unknown for a patient."""
    async with request.app.state.runtime.reading(principal, GAPS_READ, [patient_id]) as tx:
        chart = (await storage.load_charts(tx, [patient_id]))[patient_id]
    language = language_of(accept_language)
    return GapsView(patient_id=patient_id, gaps=[view(rule, chart, language) for rule in PROTOCOLS.rules])


def view(rule: Rule, chart: Chart, language: str) -> GapView:
    """One rule as shown."""
    gap = chart.gap(rule.id)
    return GapView(
        gap_id=gap.id_for(chart.patient_id),
        rule=rule.id,
        state=gap.state.value,
        due=gap.due,
        since=gap.since,
        explanation=explain(rule, chart, language),
    )


def language_of(header: str) -> str:
    """The best language that we speak for an `Accept-Language` header, English where none fits."""
    wanted = []
    for part in header.split(","):
        tag, _, quality = part.partition(";q=")
        try:
            wanted.append((float(quality or 1), tag.strip().lower().split("-")[0]))
        except ValueError:
            continue
    ranked = sorted((one for one in wanted if one[0] > 0), key=lambda one: -one[0])
    return next((tag for _, tag in ranked if tag in LANGUAGES), LANGUAGES[0])
