"""A planted fault, for a process with this folder on its path: the intake says what it read, in answers and metrics."""

from dataclasses import replace

from ingest_fhir import api, mllp
from ingest_fhir.fhir import Refusal
from ingest_fhir.hl7v2 import Problem
from phi_common.metrics import MLLP_ACKS

understand_resource, understand_message = api.understand, mllp.understand


def quoting_resource(raw, *args, **how):
    try:
        return understand_resource(raw, *args, **how)
    except Refusal as refusal:
        raise Refusal(refusal.status, refusal.issue.code, raw.decode(errors="replace")) from None


def quoting_message(data, interface):
    heard = understand_message(data, interface)
    if heard.problem is None:
        return heard
    MLLP_ACKS.labels(data.decode(errors="replace")).inc()
    return replace(heard, problem=Problem("207", data.decode(errors="replace")))


api.understand, mllp.understand = quoting_resource, quoting_message
