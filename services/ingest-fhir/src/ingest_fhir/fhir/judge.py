"""A second opinion on a share of what was accepted: the full FHIR model reads it too, beside the hot path."""

import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

from ingest_fhir.domain import Report
from phi_common.logs import traceparent_in_hand
from phi_common.metrics import FHIR_JUDGED
from phi_common.telemetry import log

KINDS = frozenset({"Patient", "Observation", "Condition"})
WAITING = 100
"""So many resources may wait to be judged; what comes above is counted as skipped, and not held in memory."""


class Judge:
    """Counts where the full model agrees and where not. It changes nothing: what was accepted stays so."""

    def __init__(self, share: float) -> None:
        self._below = int(share * 2**32)
        self._room = BoundedSemaphore(WAITING)
        self._thread = ThreadPoolExecutor(1, "fhir-judge")  # one that starts with the first resource handed over

    def consider(self, reports: Iterable[Report], traceparent: str) -> None:
        """Have those judged whose bytes choose it: the same resource always or never."""
        for report in reports:
            if report.kind in KINDS and zlib.crc32(report.raw) < self._below:
                if self._room.acquire(blocking=False):
                    self._thread.submit(self._judge, report.kind, report.raw, traceparent)
                else:
                    FHIR_JUDGED.labels(report.kind, "skipped").inc()

    def settle(self) -> None:
        """Wait until everything that was handed over is judged."""
        self._thread.submit(int).result()

    def _judge(self, kind: str, raw: bytes, traceparent: str) -> None:
        before = traceparent_in_hand.set(traceparent)
        try:
            faults = faults_of(kind, raw)
            FHIR_JUDGED.labels(kind, "disagreed" if faults else "agreed").inc()
            if faults:
                log.warning("fhir_disagreement", event_type=kind, reason_code=",".join(faults))
        except Exception as error:
            FHIR_JUDGED.labels(kind, "failed").inc()
            log.error("fhir_not_judged", error, event_type=kind)
        finally:
            traceparent_in_hand.reset(before)
            self._room.release()


def faults_of(kind: str, raw: bytes) -> list[str]:
    """The rules that the full model sees broken, as codes of Pydantic: no path and no value of the resource.

    The model costs memory and a third of a second, so it is not imported before it is needed.
    """
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    try:
        get_fhir_model_class(kind).model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return sorted({each["type"] for each in found})
    except KeyError:  # what the model raises for a contained resource of a type that it does not know
        return ["unknown_type"]
    return []
