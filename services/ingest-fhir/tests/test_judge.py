"""The second opinion: right verdicts, for the same resources each time, and never in anybody's way."""

import json
import logging
import subprocess
import sys
from threading import Event
from typing import Any

import pytest

from ingest_fhir.desk import desk_of
from ingest_fhir.domain import Identifier, Report
from ingest_fhir.fhir import Judge, judge
from ingest_fhir.settings import Settings
from phi_common.metrics import FHIR_JUDGED
from phi_common.runtime import Runtime
from phi_common.testing import client

HEADERS = {"Authorization": "Bearer interface", "Content-Type": "application/fhir+json"}
TRACE = "00-" + "c" * 32 + "-" + "1" * 16 + "-01"
GOOD = {
    "resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": "Patient/p1"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}, "valueString": "7.1",
}  # fmt: skip
DOUBTFUL = GOOD | {"id": "o2", "note": "SECRET", "SECRET": "SECRET"}
"""What is wrong with it stands in elements that we do not use."""


def report(raw: bytes, kind: str = "Observation") -> Report:
    return Report(kind, "ehr", (Identifier("urn:mrn", "42"),), (), raw)


@pytest.fixture
def count() -> Any:
    """How many more verdicts of a sort there are than at the beginning."""

    def value(verdict: str) -> float:
        return sum(FHIR_JUDGED.labels(kind, verdict)._value.get() for kind in judge.KINDS)

    verdicts = ("agreed", "disagreed", "skipped", "failed")
    before = {verdict: value(verdict) for verdict in verdicts}
    return lambda: {
        verdict: value(verdict) - before[verdict] for verdict in verdicts if value(verdict) > before[verdict]
    }


@pytest.fixture
def seen(runtime: Runtime) -> Judge:
    """The judge of this service, set to judge everything."""
    assert isinstance(runtime.settings, Settings)
    runtime.settings.judged_share = 1.0
    return desk_of(runtime).judge


async def test_what_was_accepted_is_judged_and_stays_accepted(runtime, seen, count, caplog):
    caplog.set_level(logging.INFO, "careloop")
    async with client("ingest-fhir", runtime) as http:
        for resource in (GOOD, DOUBTFUL):
            headers = HEADERS | {"traceparent": TRACE}
            answer = await http.post("/fhir/Observation", content=json.dumps(resource), headers=headers)
            assert answer.status_code == 201
    seen.settle()
    assert count() == {"agreed": 1, "disagreed": 1}
    [line] = [each.shown for each in caplog.records if each.msg == "fhir_disagreement"]
    assert line == {"event_type": "Observation", "reason_code": "extra_forbidden,list_type"}


async def test_every_resource_of_a_bundle_is_judged_by_itself(runtime, seen, count):
    entries = [{"resource": each, "request": {"method": "POST", "url": "Observation"}} for each in (GOOD, DOUBTFUL)]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    async with client("ingest-fhir", runtime) as http:
        assert (await http.post("/fhir", content=json.dumps(bundle), headers=HEADERS)).status_code == 200
    seen.settle()
    assert count() == {"agreed": 1, "disagreed": 1}


async def test_what_was_refused_is_not_judged(runtime, seen, count):
    async with client("ingest-fhir", runtime) as http:
        answer = await http.post("/fhir/Observation", content=json.dumps(GOOD | {"status": "x"}), headers=HEADERS)
        assert answer.status_code == 422
    seen.settle()
    assert count() == {}


def test_the_bytes_choose_and_always_alike(count):
    bodies = [json.dumps(GOOD | {"id": f"o{n}"}).encode() for n in range(2000)]
    for _ in range(2):
        some = Judge(0.01)
        before = count().get("agreed", 0)
        for body in bodies:
            some.consider([report(body)], TRACE)
        some.settle()
        assert count()["agreed"] - before == sum(judge.zlib.crc32(body) < 0.01 * 2**32 for body in bodies)
    assert 20 < count()["agreed"] < 80


def test_none_is_judged_with_a_share_of_nought_and_no_message_of_hl7_v2(count):
    for share, kind in ((0.0, "Observation"), (1.0, "ORU^R01")):
        some = Judge(share)
        some.consider([report(json.dumps(GOOD).encode(), kind)], TRACE)
        some.settle()
    assert count() == {}


def test_a_slow_judge_holds_nobody_up_and_hoards_nothing(count, monkeypatch):
    go_on = Event()
    monkeypatch.setattr(judge, "faults_of", lambda kind, raw: [] if go_on.wait(10) else ["late"])
    some = Judge(1.0)
    some.consider([report(b"{}")] * (judge.WAITING + 20), TRACE)
    go_on.set()
    some.settle()
    assert count() == {"agreed": judge.WAITING, "skipped": 20}


def test_a_judge_that_fails_is_counted_and_goes_on(count, monkeypatch):
    monkeypatch.setattr(judge, "faults_of", lambda kind, raw: 1 / 0)
    some = Judge(1.0)
    for _ in range(2):
        some.consider([report(b"{}")] * judge.WAITING, TRACE)
        some.settle()
    assert count() == {"failed": 2 * judge.WAITING}


def test_a_resource_of_an_unknown_type_inside_is_a_disagreement():
    raw = json.dumps(GOOD | {"contained": [{"resourceType": "Planted", "id": "x"}]}).encode()
    assert judge.faults_of("Observation", raw) == ["unknown_type"]


def test_the_model_costs_nothing_before_it_is_needed():
    code = "import sys, ingest_fhir.main; print([name for name in sys.modules if name.split('.')[0] == 'fhir'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
