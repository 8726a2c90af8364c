"""Faults of the whole system: what stands still stays safe, what comes back goes on, and nothing is lost."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from canaries import contents, hits, places
from intruder import Forged, Intruder
from sender import Sender, person, until

from careloop import subscribers, synthetic
from careloop.bench.pipeline import observation, patient_bundle
from careloop.listener import Listener
from careloop.story import START
from careloop.synthetic import Person
from careloop.system import System
from phi_common import topics
from phi_common.clock import set_virtual

pytestmark = pytest.mark.system

BOUND = 20
"""Accepting stops above so many unpublished rows."""
MANY = 60
SECRETS = {
    "family name": "Zqfaultfamily",
    "record number": "ZQFAULTMRN78",
    "HL7 family name": "Zqfaultother",
    "HL7 record number": "ZQFAULTMRN79",
}
LONG_AGO = "2025-01-20"
DAMAGED = [topics.PROFILE_CONTACTS, topics.CONSENT_PREFERENCES]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    bound = {"ingest-fhir": {"INGEST_FHIR_OUTBOX_ROWS": str(BOUND)}}
    with System.start(START, kind="e2e", environment=bound) as started:
        yield started


@pytest.fixture
def sender(system: System) -> Sender:
    return Sender(system)


@pytest.fixture
def same_processes(system: System) -> Iterator[None]:
    """A fault outside is waited out: none of our programs may end because of it."""
    children = system.servers.supervisor.children
    before = {program.name: children[program.name].identity for program in system.running}
    yield
    assert {name: children[name].identity for name in before} == before


def bundle_of_the_fault() -> bytes:
    """A person of whom nothing was known before, whose test is overdue."""
    bundle = json.loads(patient_bundle(range(1)).replace(b"BENCH-0", SECRETS["record number"].encode()))
    bundle["entry"][0]["resource"]["name"] = [{"family": SECRETS["family name"]}]
    result = json.loads(observation(0, LONG_AGO).replace(b"BENCH-0", SECRETS["record number"].encode()))
    bundle["entry"].append({"resource": result, "request": {"method": "POST", "url": "Observation"}})
    return json.dumps(bundle).encode()


def message_of_the_fault(name: str) -> bytes:
    """The same by HL7, under a control id of its own for each fault."""
    msh = f"MSH|^~\\&|EHR|NORTH|||20260302100000+0000||ADT^A04|{name}|P|2.5.1"
    pid = f"PID|1||{SECRETS['HL7 record number']}^^^NORTH^MR||{SECRETS['HL7 family name']}^X||19600101|F"
    return f"{msh}\r{pid}\r".encode()


def assert_not_now(sender: Sender, name: str) -> None:
    """Both doors refuse, each in its own form, ask to be tried again, and keep nothing."""
    stored = sender.sql("ingest_fhir", "SELECT count(*) FROM raw_messages")
    answer = sender.fhir(bundle_of_the_fault())
    issue = answer.json()["issue"][0]
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert (answer.json()["resourceType"], issue["code"]) == ("OperationOutcome", "transient")
    msa, err = sender.hl7(message_of_the_fault(name))
    assert msa == f"MSA|AE|{name}"
    assert "|207^Application internal error^HL70357|E|" in err
    assert "send it again" in err
    assert sender.sql("ingest_fhir", "SELECT count(*) FROM raw_messages") == stored


def opened(system: System, name: str) -> Counter[str]:
    """How many different events opened a gap, by patient, as an outside subscriber reads them."""
    with closing(Listener(subscribers.add(system.describe(), name, [topics.GAPS]))) as listener:
        events = {heard.id: heard for heard in listener.news()}
    return Counter(str(heard.patient_id) for heard in events.values() if heard.type == "GapOpened.v1")


def waits(system: System) -> int:
    """How often the gate has put off what is due."""
    return system.log("outreach-gate").read_text().count("gate-waits")


@pytest.mark.usefixtures("same_processes")
def test_a_sealed_key_service_takes_nothing_sends_nothing_and_loses_nothing(system, sender):
    one, two = person(61), person(62)
    first, second = (sender.reached_by_text(who, START) for who in (one, two))
    system.servers.openbao.seal()
    for name in ("ingest-fhir", "outreach-gate"):
        until(lambda name=name: "vault" in sender.troubles(name))
    assert_not_now(sender, "sealed")
    assert hits(contents(places(system)), SECRETS) == set()
    assert sender.said(second) == "allowed"  # read with keys that are at hand
    assert sender.prefer(second, "blocked", "stop") == (200, "effective")  # and no opt-out has to wait
    waited = waits(system)
    set_virtual(system.clock_file, START + timedelta(days=14))
    due = "SELECT 1 FROM deliveries WHERE patient_id = %s AND attempt = 2 AND state <> 'cancelled'"
    until(lambda: sender.sql("outreach", due, first))
    until(lambda: waits(system) > waited + 1 or len(sender.texts(one)) > 1)
    assert len(sender.texts(one)) == 1
    system.kill("openbao")  # its next start opens it
    system.wait_ready()
    assert sender.fhir(bundle_of_the_fault()).status_code == 200
    assert sender.hl7(message_of_the_fault("sealed")) == ["MSA|AA|sealed"]
    system.settle()
    assert (len(sender.texts(one)), len(sender.texts(two))) == (2, 1)
    assert sorted(opened(system, "after-the-seal").values()) == [1, 1, 1]
    assert hits(contents(places(system)), SECRETS) == set()


@pytest.mark.usefixtures("same_processes")
def test_a_key_service_that_does_not_answer_is_noticed(system, sender):
    pid = system.servers.supervisor.children["openbao"].identity.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "vault" in sender.troubles("ingest-fhir"), 15)
        assert_not_now(sender, "hung")
    finally:
        os.kill(pid, signal.SIGCONT)
    system.wait_ready()
    assert sender.hl7(message_of_the_fault("hung")) == ["MSA|AA|hung"]


def accepted_until_full(sender: Sender) -> int:
    """Results sent one after the other until one is refused; how many were taken. It is looked at once a second."""
    for number in range(MANY):
        answer = sender.fhir(observation(number, LONG_AGO), **{"Idempotency-Key": f"bound-{number}"})
        if answer.status_code == 503:
            return number
        assert answer.status_code == 201
        time.sleep(0.2 if number > BOUND else 0)
    raise AssertionError("accepting has no bound")


@pytest.mark.usefixtures("same_processes")
def test_without_kafka_accepting_goes_on_up_to_its_bound_and_everything_arrives_once(system, sender):
    entries = sender.fhir(patient_bundle(range(MANY))).json()["entry"][::2]
    patients = [entry["response"]["location"].split("/")[1] for entry in entries]
    system.settle()
    system.stop("kafka")
    accepted = accepted_until_full(sender)
    assert accepted > BOUND
    assert sender.sql("ingest_fhir", "SELECT count(*) FROM outbox") == [(accepted,)]
    assert_not_now(sender, "no-kafka")
    system.servers.supervisor.start(system.servers.supervisor.children["kafka"])
    again = {"Idempotency-Key": f"bound-{accepted}"}
    until(lambda: sender.fhir(observation(accepted, LONG_AGO), **again).status_code == 201)
    assert sender.hl7(message_of_the_fault("no-kafka")) == ["MSA|AA|no-kafka"]
    system.settle()
    found = opened(system, "after-kafka")
    taken = accepted + 1
    assert [found[patient] for patient in patients] == [1] * taken + [0] * (MANY - taken)


def letters(system: System, name: str, patients: list[UUID]) -> list[tuple[str, str, str]]:
    """Patient, type and reason of the dead letters of a service, as its administrator sees them."""
    with system.client(name, "admin") as http:
        found = http.get("/dead-letters").raise_for_status().json()
    wanted = [str(patient) for patient in patients]
    return [(each["patient_id"], each["type"], each["reason"]) for each in found if each["patient_id"] in wanted]


def redrive(system: System, name: str) -> int:
    """How many letters were applied."""
    with system.client(name, "admin") as http:
        return sum(
            http.post("/dead-letters/redrive", headers={"Idempotency-Key": str(uuid4())})
            .raise_for_status()
            .json()
            .values()
        )


def spoil(intruder: Intruder, patient: UUID) -> list[Forged]:
    """The patient's last event of each topic once more, damaged."""
    forged = [intruder.forge(topic, patient) for topic in DAMAGED]
    for each in forged:
        intruder.send(each.topic, patient, each.headers, each.spoiled)
    return forged


def mend(sender: Sender, forged: list[Forged]) -> None:
    """What whoever operates a service would do with damaged letters: put the right bytes in their place."""
    for each in forged:
        for database in ("outreach", "consent"):
            sender.sql(database, "UPDATE dead_letters SET body = %s WHERE event_id = %s", each.value, each.event_id)


def move(sender: Sender, who: Person, now: datetime) -> None:
    """A new number for a person: an event that waits behind the damaged one."""
    moved = replace(who, phone=who.phone[:-3] + f"2{who.number % 100:02}")
    message = synthetic.hl7_registration(moved, now).replace(b"-A|P|", b"-B|P|")
    assert sender.hl7(message)[0].startswith("MSA|AA|")


def stop(system: System, who: Person) -> None:
    """A person answers STOP."""
    with system.client("simulator") as http:
        assert http.post("/inbound", json={"from": who.phone, "body": "STOP"}).status_code == 202


@pytest.mark.usefixtures("same_processes")
def test_a_dead_letter_holds_no_opt_out_up_and_redrive_heals(system, sender):
    now = system.world().now()
    people = [person(number) for number in (63, 64, 65)]
    late, soon, other = patients = [sender.reached_by_text(who, now) for who in people]
    intruder = Intruder(system, DAMAGED)
    damaged = {patient: spoil(intruder, patient) for patient in patients}
    for forged in damaged[late]:  # about nobody, and with nothing in them
        intruder.send(forged.topic, uuid4(), forged.headers, None)
        intruder.send(forged.topic, uuid4(), forged.headers | {"ck": None}, forged.value)
    system.settle()
    for who in people[:2]:
        move(sender, who, now)
        stop(system, who)
    system.settle()
    assert [sender.said(patient) for patient in patients] == ["blocked", "blocked", "allowed"]
    contact, preference = ("ContactChanged.v1", "Undecryptable"), ("PreferenceChanged.v1", "Undecryptable")
    waiting = [contact, ("ContactChanged.v1", "Parked")]
    for patient in (late, soon):
        assert [letter[1:] for letter in letters(system, "consent", [patient])] == waiting
        assert sorted(letter[1:] for letter in letters(system, "outreach", [patient])) == sorted([*waiting, preference])

    mend(sender, damaged[soon])
    assert (redrive(system, "consent"), redrive(system, "outreach")) == (2, 3)
    system.advance(now + timedelta(days=14))
    assert [len(sender.texts(who)) for who in people] == [2, 2, 2]
    handed = "SELECT count(gap_id), count(optout_id) FROM deliveries WHERE patient_id = ANY(%s)"
    # each one's second text answers the STOP; of another attempt the gate was not asked, outreach knew by itself
    assert sender.sql("outreach", handed, [late, soon]) == [(2, 2)]
    assert letters(system, "consent", [soon]) == letters(system, "outreach", [soon]) == []

    known = "SELECT digest FROM addresses WHERE patient_id = %s"
    before = sender.sql("consent", known, late)
    mend(sender, damaged[late] + damaged[other])
    assert (redrive(system, "consent"), redrive(system, "outreach")) == (3, 5)
    assert sender.sql("consent", known, late) != before
    assert letters(system, "consent", patients) == letters(system, "outreach", patients) == []
    assert [sender.said(patient) for patient in patients] == ["blocked", "blocked", "allowed"]
