"""The words of explanations, in English and Spanish."""

from care_gap_engine.domain.vaccines.forecast import Status, Why
from care_gap_engine.domain.vaccines.patient import Aside
from care_gap_engine.domain.vaccines.progress import Reason

LANGUAGES = ("en", "es")

Words = dict[str, str]

REASONS: dict[str, dict[Reason, str]] = {
    "en": {
        Reason.SUBSTANDARD: "the lot had expired or the dose was flagged",
        Reason.INADVERTENT: "this product was not meant for this dose",
        Reason.TOO_YOUNG: "given too young",
        Reason.TOO_OLD: "given too old",
        Reason.TOO_SOON: "given too soon after an earlier dose",
        Reason.CONFLICT: "given too soon after another live vaccine",
        Reason.PRODUCT: "this product, or its age range, does not fit this dose",
        Reason.SERIES_COMPLETE: "not needed, the series was complete",
        Reason.LOW_VOLUME: "less than the recommended volume",
    },
    "es": {
        Reason.SUBSTANDARD: "el lote estaba vencido o la dosis estaba marcada",
        Reason.INADVERTENT: "este producto no era para esta dosis",
        Reason.TOO_YOUNG: "aplicada a una edad demasiado temprana",
        Reason.TOO_OLD: "aplicada a una edad demasiado avanzada",
        Reason.TOO_SOON: "aplicada demasiado pronto después de una dosis anterior",
        Reason.CONFLICT: "aplicada demasiado pronto después de otra vacuna viva",
        Reason.PRODUCT: "este producto, o su rango de edad, no corresponde a esta dosis",
        Reason.SERIES_COMPLETE: "no era necesaria, la serie estaba completa",
        Reason.LOW_VOLUME: "menos del volumen recomendado",
    },
}

ASIDES: dict[str, dict[Aside, str]] = {
    "en": {
        Aside.REFUSED: "not given",
        Aside.ERROR: "entered in error",
        Aside.UNDATED: "the day is not known",
        Aside.FUTURE: "dated after this day",
        Aside.UNKNOWN: "the schedule does not know this product code",
        Aside.DUPLICATE: "another record of the same vaccination",
    },
    "es": {
        Aside.REFUSED: "no aplicada",
        Aside.ERROR: "registrada por error",
        Aside.UNDATED: "no se conoce el día",
        Aside.FUTURE: "con fecha posterior a este día",
        Aside.UNKNOWN: "el calendario no conoce este código de producto",
        Aside.DUPLICATE: "otro registro de la misma vacunación",
    },
}

STANDING: dict[str, dict[Status, str]] = {
    "en": {
        Status.COMPLETE: "Complete: {why}.",
        Status.NOT_COMPLETE: "Not complete: {why}.",
        Status.IMMUNE: "No dose needed: {why}.",
        Status.CONTRAINDICATED: "Not to be given: {why}.",
        Status.AGED_OUT: "No further dose: {why}.",
        Status.NOT_RECOMMENDED: "No dose recommended: {why}.",
    },
    "es": {
        Status.COMPLETE: "Completa: {why}.",
        Status.NOT_COMPLETE: "Incompleta: {why}.",
        Status.IMMUNE: "No se necesita ninguna dosis: {why}.",
        Status.CONTRAINDICATED: "No se debe aplicar: {why}.",
        Status.AGED_OUT: "Ninguna dosis más: {why}.",
        Status.NOT_RECOMMENDED: "No se recomienda ninguna dosis: {why}.",
    },
}

WHY: dict[str, dict[Why, str]] = {
    "en": {
        Why.DUE: "a dose is needed",
        Why.COMPLETE: "all doses of the series have been given",
        Why.HISTORY: "not needed after what has been given",
        Why.IMMUNE: "there is evidence of immunity",
        Why.CONTRAINDICATED: "an observation on record speaks against it",
        Why.SEASON_OVER: "the season of the schedule is over",
        Why.TOO_OLD: "the maximum age is reached",
        Why.NO_TIME_LEFT: "the next dose could not be given before the maximum age",
    },
    "es": {
        Why.DUE: "se necesita una dosis",
        Why.COMPLETE: "se han aplicado todas las dosis de la serie",
        Why.HISTORY: "no es necesaria después de lo aplicado",
        Why.IMMUNE: "hay evidencia de inmunidad",
        Why.CONTRAINDICATED: "una observación registrada lo contraindica",
        Why.SEASON_OVER: "la temporada del calendario ha terminado",
        Why.TOO_OLD: "se ha alcanzado la edad máxima",
        Why.NO_TIME_LEFT: "la próxima dosis no podría aplicarse antes de la edad máxima",
    },
}

PHRASES: dict[str, Words] = {
    "en": {
        "counted": "{day}, {product}: counts as dose {target} of {series}",
        "uncounted": "{day}, {product}: does not count for {series}: {reason}",
        "unjudged": "{day}, {product}: no series of this schedule applies to this person",
        "records": " (one vaccination, {count} records: {sources})",
        "aside": "{day}, {product}: not counted: {reason}",
        "no_day": "no day known",
        "no_series": "The schedule asks for nothing here.",
        "next": "Next: dose {number}, from {earliest} on, recommended on {recommended}.",
        "past_due": "Overdue from {past_due} on.",
        "latest": "Not after {latest}.",
        "products": "Products that fit: {products}.",
        "shared_decision": "A decision for patient and clinician together; not a recommendation for everybody.",
        "recheck": "To be looked at again on {recheck_on}.",
        "said_by": "{publisher}, version {version}, in force since {effective_from}. {licence}",
    },
    "es": {
        "counted": "{day}, {product}: cuenta como dosis {target} de {series}",
        "uncounted": "{day}, {product}: no cuenta para {series}: {reason}",
        "unjudged": "{day}, {product}: ninguna serie de este calendario corresponde a esta persona",
        "records": " (una vacunación, {count} registros: {sources})",
        "aside": "{day}, {product}: no se cuenta: {reason}",
        "no_day": "día desconocido",
        "no_series": "El calendario no pide nada aquí.",
        "next": "Próxima: dosis {number}, a partir del {earliest}, recomendada el {recommended}.",
        "past_due": "Atrasada a partir del {past_due}.",
        "latest": "No después del {latest}.",
        "products": "Productos que corresponden: {products}.",
        "shared_decision": "Una decisión conjunta del paciente y el médico; no se recomienda a todos.",
        "recheck": "Se revisará de nuevo el {recheck_on}.",
        "said_by": "{publisher}, versión {version}, en vigor desde {effective_from}. {licence}",
    },
}
