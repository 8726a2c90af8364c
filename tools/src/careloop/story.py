"""The demo: four people fall due, each is reached as they allow or not at all, and one gap closes."""

import argparse
import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import httpx2
from rich.console import Console

from careloop import subscribers, synthetic
from careloop.listener import Heard, Listener
from careloop.processes import wait_until
from careloop.synthetic import FOUR, ONE, PEOPLE, TWO, Person
from careloop.system import System
from careloop.telling import Line, Summary, channel_name, count, in_words, show, write
from phi_common import topics

START = datetime(2026, 3, 2, 15, tzinfo=UTC)
LONG_AGO = timedelta(days=400)
SUBSCRIBER = "demo-reader"
REQUESTS = UUID("6f1d0f5e-1c7b-4d0e-9a52-5b8f0c3d2a10")
PATIENCE = 60.0
"""How long the demo waits for a program that does not answer; repeats carry the same key, so nothing is taken twice."""


@dataclass
class Story:
    """The play itself. Each scene ends when nothing more happens at its virtual time."""

    system: System
    listener: Listener
    tell: Callable[[Line], None]
    http: httpx2.Client
    now: datetime = START
    summary: Summary = field(default_factory=Summary)
    ids: dict[Person, UUID] = field(default_factory=dict)

    def play(self) -> Summary:
        """All scenes."""
        self.register()
        self.ask_for_consent()
        self.report_results()
        self.say_stop(START + timedelta(days=5))
        self.advance(START + timedelta(days=14))
        self.advance(START + timedelta(days=28))
        self.close_the_gap(START + timedelta(days=30))
        return self.summary

    def register(self) -> None:
        """The EHR reports four people with diabetes."""
        self.send_fhir(ONE, synthetic.fhir_patient(ONE), "is registered by FHIR")
        self.send_fhir(ONE, synthetic.fhir_diabetes(ONE), "has type 2 diabetes")
        for person in PEOPLE[1:]:
            said = "is registered by HL7 v2, with type 2 diabetes"
            self.send_hl7(person, synthetic.hl7_registration(person, self.now), said)
        self.settle()
        self.ids = {person: self.find(person) for person in PEOPLE}

    def ask_for_consent(self) -> None:
        """What each allows; the third says nothing, and nothing means no."""
        self.allow(ONE, "sms", preferred=True)
        self.allow(TWO, "portal")
        self.allow(FOUR, "sms")
        self.settle()

    def report_results(self) -> None:
        """The last HbA1c of all four is too long ago."""
        day = (self.now - LONG_AGO).date()
        said = f"had the last HbA1c test on {day}"
        self.send_fhir(ONE, synthetic.fhir_hba1c(ONE, day, 7.1), said)
        for person in PEOPLE[1:]:
            self.send_hl7(person, synthetic.hl7_hba1c(person, day, 7.4, self.now), said)
        self.settle()

    def say_stop(self, at: datetime) -> None:
        """The fourth person answers the first text."""
        self.advance(at)
        self.say(FOUR, "answers STOP")
        answer = self.insist("POST", "simulator", "/inbound", content=_json({"from": FOUR.phone, "body": "STOP"}))
        assert answer.status_code == 202
        self.settle()

    def close_the_gap(self, at: datetime) -> None:
        """The first person has the test after all."""
        self.advance(at)
        day = (at - timedelta(days=1)).date()
        self.send_fhir(ONE, synthetic.fhir_hba1c(ONE, day, 6.8), f"has a new HbA1c result of {day}")
        self.settle()

    # -- how it is done

    def advance(self, to: datetime) -> None:
        """Let business time go on to `to`; what falls due meanwhile is done on its day."""
        self.system.advance(to)
        self.now = to
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is under way anywhere; then tell what happened."""
        self.system.settle()
        numbers = {known: person.number for person, known in self.ids.items()}
        for heard in sorted(self.listener.news(), key=lambda heard: (heard.at, numbers[heard.patient_id])):
            self.hear(heard)

    def say(self, person: Person, what: str, trace: str = "") -> None:
        """One line."""
        self.tell(Line(self.now, person.label, what, trace))

    def send_fhir(self, person: Person, body: bytes, what: str) -> None:
        """One resource by HTTP; taken means durable."""
        trace = secrets.token_hex(16)
        traceparent = f"00-{trace}-{secrets.token_hex(8)}-01"
        headers = {"Content-Type": "application/fhir+json", "traceparent": traceparent}
        answer = self.insist("POST", "ingest-fhir", "/fhir", "interface", content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        self.summary.messages_in += 1
        self.say(person, what, trace)

    def send_hl7(self, person: Person, message: bytes, what: str) -> None:
        """One message by MLLP; AA means durable."""
        host, _, port = self.system.urls["mllp"].rpartition("/")[2].partition(":")

        def taken() -> bool:
            try:
                return b"\rMSA|AA|" in mllp((host, int(port)), self.system.ca_file, message)
            except OSError:
                return False

        assert wait_until(taken, PATIENCE, every=0.5)
        self.summary.messages_in += 1
        self.say(person, what)

    def find(self, person: Person) -> UUID:
        """Our own id of a person."""
        form = {"identifier": person.token}
        answer = self.insist("POST", "ingest-fhir", "/fhir/Patient/_search", "interface", data=form)
        return UUID(answer.json()["entry"][0]["resource"]["id"])

    def allow(self, person: Person, channel: str, *, preferred: bool = False) -> None:
        """A coordinator records that a person agreed to a channel."""
        said = {"permission": "allowed", "preferred": preferred, "wording": f"{channel}-1", "evidence": "made up"}
        path = f"/patients/{self.ids[person]}/preferences/{channel}"
        answer = self.insist("PUT", "consent", path, "care-coordinator", content=_json(said))
        assert answer.status_code == 200, answer.text
        self.say(person, f"allows {channel_name(channel)}")

    def insist(
        self, method: str, where: str, path: str, role: str = "", headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx2.Response:
        """Ask until there is an answer; one and the same key makes the repeats harmless."""
        asked = {"Idempotency-Key": str(uuid5(REQUESTS, f"{path}{body}")), **(headers or {})}
        if role:
            asked["Authorization"] = f"Bearer {self.system.token(role)}"
        if "content" in body:
            asked.setdefault("Content-Type", "application/json")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self.http.request(method, self.system.urls[where] + path, headers=asked, **body)
                if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    return answer
            except httpx2.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def hear(self, heard: Heard) -> None:
        """Count an event and tell it."""
        if heard.trace not in self.summary.trace_ids:
            self.summary.trace_ids.append(heard.trace)
        count(self.summary, heard)
        if words := in_words(heard):
            who = next(person for person, known in self.ids.items() if known == heard.patient_id)
            self.tell(Line(heard.at, who.label, words, heard.trace))


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def mllp(address: tuple[str, int], ca_file: Path, message: bytes) -> bytes:
    """One message over TLS, and its acknowledgement."""
    trust = ssl.create_default_context(cafile=ca_file)
    with socket.create_connection(address, 30) as raw, trust.wrap_socket(raw, server_hostname=address[0]) as line:
        line.sendall(b"\x0b" + message + b"\x1c\r")
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            if not (chunk := line.recv(65536)):
                raise ConnectionError("MLLP connection closed before the answer")
            answer += chunk
    return answer[1:-2]


def play(system: System, tell: Callable[[Line], None]) -> Summary:
    """Play the story on a system whose virtual clock stands at `START`."""
    access = subscribers.add(system.describe(), SUBSCRIBER, [topics.GAPS, topics.OUTREACH_MESSAGES])
    trust = ssl.create_default_context(cafile=system.ca_file)
    with (
        closing(Listener(access)) as listener,
        httpx2.Client(verify=trust, trust_env=False, timeout=30) as http,
    ):
        return Story(system, listener, tell, http).play()


def main(arguments: list[str]) -> int:
    """`./careloop demo [--summary FILE] [--yes]`."""
    parser = argparse.ArgumentParser(prog="./careloop demo", description=__doc__)
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write what happened as JSON")
    parser.add_argument("--yes", action="store_true", help="install missing system packages without asking")
    chosen = parser.parse_args(arguments)
    console = Console()
    started = time.monotonic()
    with System.start(START, kind="demo", report=lambda text: console.print(f"[dim]{text} ...[/]")) as system:
        summary = play(system, show(console))
        console.print("[dim]stopping what was started ...[/]")
    summary.seconds = round(time.monotonic() - started, 1)
    if chosen.summary:
        write(summary, chosen.summary)
    console.print_json(data=asdict(summary))
    return 0
