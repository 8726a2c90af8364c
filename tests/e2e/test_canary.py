"""Canaries in each identifier class go through the whole path and into wrong places; then all that the system wrote or
said is searched.

Protected health information is nowhere in the clear but with the provider. A leak planted in each place is found.
"""

import base64
import hashlib
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from typing import Any
from uuid import uuid4

import pytest
from bad_input import BODIES, MESSAGES, OBSERVATION, PATIENT, PID, SUBJECT, BadBody, BadMessage
from canaries import CANARIES as C
from canaries import Said, contents, hits, places
from intruder import Intruder
from sender import Sender
from typer.testing import CliRunner

from careloop import cli, state
from careloop.story import START
from careloop.system import System
from phi_common import topics

pytestmark = pytest.mark.system

PLANTS = Path(__file__).parent / "plants"
TRACE = "c0ffee00000000000000000000000077"
COMMANDS = (
    ["status"], ["status", "--json"], ["trace"], ["trace", TRACE],
    ["logs", "ingest-fhir", "-n", "100000"], ["logs", "consent", "-n", "100000"],
)  # fmt: skip


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System.start(START, kind="e2e", trace_ratio=1.0) as started:
        send(Sender(started))
        leave_a_dead_letter(started)
        started.settle()
        yield started


@pytest.fixture
def sender(system: System) -> Sender:
    return Sender(system)


def send(sender: Sender) -> None:
    """One person by FHIR, one by HL7 v2."""
    coding = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": C["diagnosis"]}]}
    condition = {"resourceType": "Condition", "code": coding, "subject": SUBJECT}
    for resource in (PATIENT, condition, OBSERVATION):
        trace = {"traceparent": f"00-{TRACE}-0000000000000077-01"}
        assert sender.fhir(json.dumps(resource).encode(), **trace).status_code == 201
    message = (
        f"MSH|^~\\&|CANARY|NORTH|X|X|20260302100000||ADT^A04|canary-1|P|2.5.1\r"
        f"{PID}|||{C['street']}^^X^DC^20001||{C['phone']}\rDG1|1||{C['diagnosis']}^X^I10\r"
    )
    assert sender.hl7(message.encode()) == ["MSA|AA|canary-1"]
    sender.system.settle()


def leave_a_dead_letter(system: System) -> None:
    """An event that opens and is none: whoever complains about it has a canary before their eyes."""
    ((patient,),) = Sender(system).sql("ingest_fhir", "SELECT patient_id FROM identifiers LIMIT 1")
    intruder = Intruder(system, [topics.PROFILE_CONTACTS])
    no_event = json.dumps({"patient_id": str(patient), "phones": C["phone"]}).encode()
    forged = intruder.forge(topics.PROFILE_CONTACTS, patient, no_event)
    intruder.send(forged.topic, patient, forged.headers, forged.value)


# -- what must be refused


@pytest.mark.parametrize("bad", BODIES, ids=lambda bad: bad.wrong)
def test_a_bad_body_is_answered_with_its_element_and_not_with_its_content(sender: Sender, bad: BadBody):
    answer = sender.fhir(bad.body, bad.path, **dict(bad.headers))
    outcome = answer.json()
    (issue,) = outcome["issue"]
    assert (outcome["resourceType"], issue["severity"]) == ("OperationOutcome", "error")
    assert (answer.status_code, issue["code"], issue.get("expression", [""])) == (bad.status, bad.code, [bad.element])
    assert hits([spoken("answer", answer)]) == set()


@pytest.mark.parametrize("bad", MESSAGES, ids=lambda bad: bad.wrong)
def test_a_bad_message_is_answered_with_its_field_and_kept_sealed(sender: Sender, bad: BadMessage):
    answer = sender.acknowledgement(bad.message)
    msa, err = answer.decode().rstrip("\r").split("\r")[1:]
    assert msa == bad.msa
    assert err.startswith(bad.err)
    assert hits([("acknowledgement", answer)]) == set()
    query = "SELECT problem, sealed FROM raw_messages WHERE sha256 = %s"
    kept = sender.sql("ingest_fhir", query, hashlib.sha256(bad.message).digest())
    assert bool(kept) == bad.kept
    assert all(problem and bad.message not in sealed for problem, sealed in kept)


@contextmanager
def line(sender: Sender) -> Iterator[ssl.SSLSocket]:
    """A connection to the MLLP door."""
    trust = ssl.create_default_context(cafile=sender.system.ca_file)
    host, port = sender.mllp_address
    with create_connection((host, port), 30) as raw, trust.wrap_socket(raw, server_hostname=host) as found:
        yield found


def test_a_broken_frame_is_no_message_and_spoils_none_behind_it(sender: Sender):
    stored = sender.sql("ingest_fhir", "SELECT count(*) FROM raw_messages")
    whole = [b"MSH|^~\\&|CANARY|NORTH|||1||ZZZ^Z01|%s|P|2.5.1\r" % name for name in (b"f1", b"f2")]
    half = f"MSH|^~\\&|CANARY\r{PID}".encode()
    with line(sender) as sent:
        sent.sendall(half + b"\x1c\r\x0b" + half + b"\x0b" + whole[0] + b"\x1c\r\x0b" + whole[1] + b"\x1c\x0b" + half)
        answer = b""
        while answer.count(b"\x1c\r") < 2:
            some = sent.recv(65536)
            assert some, "the connection was closed"
            answer += some
    assert [answer.count(b"MSA|AR|" + name) for name in (b"f1", b"f2")] == [1, 1]
    assert sender.sql("ingest_fhir", "SELECT count(*) FROM raw_messages") == [(stored[0][0] + 2,)]


# -- what is written and said


def spoken(where: str, answer: Any) -> Said:
    """A whole HTTP answer."""
    return where, str(answer.headers).encode() + answer.content


def wrong_requests() -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    """Who is asked, in which role, and how: with canaries where they do not belong."""
    someone, name = uuid4(), C["family name"]
    change = {"permission": C["given name"], C["street"]: "", "evidence": C["e-mail"] * 200}
    permit = {
        "message_id": name,
        "patient_ids": [C["record number"]],
        "channel": C["given name"],
        "address": [C["phone"]],
    }
    signature = {"x-timestamp": C["phone"], "x-signature": name}
    yield "consent", "care-coordinator", "PUT", f"/patients/{name}/preferences/{name}", {"json": change}
    yield "consent", "care-coordinator", "PUT", f"/patients/{someone}/preferences/sms", {"json": change}
    yield (
        "consent",
        "care-coordinator",
        "PUT",
        f"/patients/{someone}/preferences/sms",
        {"content": b"{" + name.encode()},
    )
    yield "consent", "service", "POST", "/permits", {"json": permit}
    yield "consent", "service", "POST", f"/permits/{someone}/close", {"json": {"outcome": name}}
    yield "consent", "", "POST", "/webhooks/sms/inbound", {"json": {"from": C["phone"]}, "headers": signature}
    yield "outreach", "", "POST", "/webhooks/sms/status", {"json": {"tag": C["phone"]}, "headers": signature}
    yield "outreach", "patient", "GET", f"/patients/{name}/inbox", {}
    yield "care-gap-engine", "clinician", "GET", f"/patients/{name}/gaps", {}
    yield "patient-profile", "clinician", "GET", f"/patients/{name}", {"params": {name: name}}
    yield "ingest-fhir", "clinician", "POST", "/fhir/Patient/_search", {"data": {name: name}}


def said(sender: Sender) -> Iterator[Said]:
    """Everything that programs and commands say of themselves, and how they answer what is wrong."""
    system = sender.system
    for program in system.running:
        with system.client(program.name) as http:
            yield spoken("metrics", http.get("/metrics"))
            yield spoken("problem", http.get("/" + C["family name"]))
            yield spoken("barrier", http.get("/barrier"))
    for name, role, method, path, how in wrong_requests():
        with system.client(name, *filter(None, [role])) as http:
            answer = http.request(method, path, **how)
        assert answer.is_client_error, (name, path)
        yield spoken("problem", answer)
    for bad in BODIES:
        yield spoken("outcome", sender.fhir(bad.body, bad.path, **dict(bad.headers)))
    for bad in MESSAGES:
        yield "acknowledgement", sender.acknowledgement(bad.message)
    yield from (spoken("dead letters", answer) for answer in dead_letters(system))
    for command in COMMANDS:
        yield "./careloop " + command[0], CliRunner().invoke(cli.app, command).stdout_bytes


def dead_letters(system: System) -> Iterator[Any]:
    """What each service's administrator is shown."""
    for program in system.running:
        if program.verb == "serve":
            with system.client(program.name, "admin") as http:
                yield http.get("/dead-letters").raise_for_status()


@pytest.fixture
def here(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands speak of this run, as if it had been started by `./careloop up`."""
    monkeypatch.setattr(state, "current", lambda kind="up": system.servers.run)


def test_no_canary_is_written_in_the_clear(system: System):
    assert hits(contents(places(system))) == set()


@pytest.mark.usefixtures("here")
def test_no_canary_is_said(sender: Sender):
    everything = list(said(sender))
    words = b"".join(text for _, text in everything)
    for expected in (b"careloop_mllp_acks_total", b"ValidationError", TRACE.encode(), b"outreach-gate", b"dead_letter"):
        assert expected in words
    assert hits(everything) == set()


# -- a leak planted in each place is found


@pytest.mark.parametrize("where", ["postgres", "kafka", "openbao", "logs", "spans"])
def test_a_leak_planted_in_a_file_is_found(system: System, where: str):
    folder = next(path.parent for path in places(system) if where in path.parts)
    leak = folder / "planted"
    leak.write_bytes(b"\0\1" + base64.b64encode(b"ab" + C["family name"].encode()) + b"\2")
    try:
        searched = [path for path in places(system) if path == leak]
        assert hits(contents(searched)) == {("family name", "planted")}
    finally:
        leak.unlink()


def leak_in_status(system: System) -> None:
    run = system.servers.run
    record = run.record()
    run.write(record | {"children": record["children"] | {C["family name"]: {"pid": 1, "started": 0}}})


def leak_in_trace(system: System) -> None:
    file = next(system.servers.run.spans.glob("*.jsonl"))
    span = json.loads(next(text for text in file.read_text().splitlines() if TRACE in text))
    with file.open("a") as out:
        out.write(json.dumps(span | {"name": C["family name"]}) + "\n")


def leak_in_log(system: System) -> None:
    with system.log("ingest-fhir").open("a") as out:
        out.write(C["family name"] + "\n")


def leak_in_dead_letters(system: System) -> None:
    Sender(system).sql("consent", "UPDATE dead_letters SET reason = %s", C["family name"])


@pytest.mark.usefixtures("here")
def test_a_leak_planted_in_what_is_said_is_found(system: System, sender: Sender):
    system.stop("ingest-fhir")
    system.restart("ingest-fhir", {"PYTHONPATH": str(PLANTS / "answers_with_content")})
    for leak in (leak_in_status, leak_in_trace, leak_in_log, leak_in_dead_letters):
        leak(system)
    for bad in MESSAGES:
        sender.acknowledgement(bad.message)  # what is counted then shows in the metrics
    found = {where for name, where in hits(said(sender)) if name == "family name"}
    assert found == {
        "metrics", "outcome", "acknowledgement", "dead letters",
        "./careloop status", "./careloop trace", "./careloop logs",
    }  # fmt: skip
