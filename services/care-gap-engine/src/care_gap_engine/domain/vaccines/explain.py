"""Why a vaccine group stands where it stands, in words: which doses counted, which not, what is next and from when."""

from dataclasses import dataclass

from care_gap_engine.domain.vaccines.forecaster import Forecast, GroupForecast, GroupOutcome, JudgedDose
from care_gap_engine.domain.vaccines.model import Schedule
from care_gap_engine.domain.vaccines.patient import Dose
from care_gap_engine.domain.vaccines.progress import DoseStatus
from care_gap_engine.domain.vaccines.values import code
from care_gap_engine.domain.vaccines.words import ASIDES, PHRASES, REASONS, STANDING, WHY


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a person needs to agree or to object. `said_by` names schedule, version and licence, and is always shown."""

    vaccine_group: str
    standing: tuple[str, ...]
    doses: tuple[str, ...]
    said_by: str


def explain(found: Forecast, outcome: GroupOutcome, schedule: Schedule, language: str) -> Explanation:
    """One vaccine group in English (`en`) or Spanish (`es`), by the schedule that the forecast was made with."""
    standing = [line for one in outcome.forecasts for line in _standing(one, language)]
    phrases = PHRASES[language]
    if outcome.recheck_on:
        standing.append(phrases["recheck"].format(recheck_on=outcome.recheck_on))
    said = found.publication
    return Explanation(
        outcome.vaccine_group,
        tuple(standing if outcome.forecasts else [phrases["no_series"], *standing]),
        tuple(_dose(one, schedule, language) for one in outcome.doses),
        phrases["said_by"]
        .format(
            publisher=said.publisher, version=said.version, effective_from=said.effective_from, licence=said.licence
        )
        .strip(),
    )


def explain_aside(found: Forecast, schedule: Schedule, language: str) -> tuple[str, ...]:
    """Every record that was not counted, with the reason."""
    return tuple(
        PHRASES[language]["aside"].format(
            day=_day(dose, language), product=_product(dose, schedule), reason=ASIDES[language][reason]
        )
        for dose, reason in found.aside
    )


def _standing(one: GroupForecast, language: str) -> list[str]:
    phrases = PHRASES[language]
    lines = [STANDING[language][one.status].format(why=WHY[language][one.why])]
    if one.earliest is None or one.recommended is None:
        return lines
    lines.append(phrases["next"].format(number=one.dose_number, earliest=one.earliest, recommended=one.recommended))
    if one.shared_decision:
        lines.append(phrases["shared_decision"])
    elif one.past_due:
        lines.append(phrases["past_due"].format(past_due=one.past_due))
    if one.latest:
        lines.append(phrases["latest"].format(latest=one.latest))
    if one.products:
        lines.append(phrases["products"].format(products=", ".join(product.name for product in one.products)))
    return lines


def _dose(one: JudgedDose, schedule: Schedule, language: str) -> str:
    counted = one.status is DoseStatus.VALID
    phrase = "unjudged" if one.status is None else "counted" if counted else "uncounted"
    reason = REASONS[language].get(one.reason, "")
    text = PHRASES[language][phrase].format(
        day=_day(one.dose, language), product=_product(one.dose, schedule), target=one.target, series=one.series,
        reason=reason,
    )  # fmt: skip
    if counted and reason:
        text += f" ({reason})"
    if len(one.sources) > 1:
        sources = ", ".join(f"{dose.source} {dose.source_id}".strip() for dose in one.sources)
        text += PHRASES[language]["records"].format(count=len(one.sources), sources=sources)
    return text


def _day(dose: Dose, language: str) -> str:
    if dose.given is not None:
        return dose.given.isoformat()
    return dose.recorded or PHRASES[language]["no_day"]


def _product(dose: Dose, schedule: Schedule) -> str:
    """The schedule's name of a product with its code; an unknown one by its code alone."""
    known = schedule.products.get(code(dose.cvx))
    return f"{known.name} (CVX {dose.cvx})" if known else f"CVX {dose.cvx}"
