"""The demo: four people fall due, each is reached as they allow or not at all, and one gap closes. Five virtual weeks."""

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
from phi_common import topics
from rich.console import Console

from careloop import synthetic
from careloop.listener import Heard, Listener
from careloop.processes import wait_until
from careloop.synthetic import FOUR, ONE, PEOPLE, TWO, Person
from careloop.system import System

START = datetime(2026, 3, 2, 15, tzinfo=UTC)
LONG_AGO = timedelta(days=400)
SUBSCRIBER = "demo-reader"
REQUESTS = UUID("6f1d0f5e-1c7b-4d0e-9a52-5b8f0c3d2a10")
PATIENCE = 60.0
"""How long the demo waits for a program that does not answer; repeats carry the same key, so nothing is taken twice."""


@dataclass(frozen=True)
class Line:
    """One line of the story, in virtual time."""

    at: datetime
    who: str
    what: str
    trace: str = ""


@dataclass
class Summary:
    """What happened, counted from the events that an outside subscriber read."""

    messages_in: int = 0
    gaps_opened: int = 0
    gaps_closed: int = 0
    sent: dict[str, int] = field(default_factory=lambda: {"sms": 0, "portal": 0})
    suppressed: dict[str, int] = field(default_factory=lambda: {"no-consent": 0, "opted-out": 0})
    reviews: int = 0
    trace_ids: list[str] = field(default_factory=list)
    seconds: float = 0.0


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
    opened_by: dict[str, str] = field(default_factory=dict)

    def play(self) -> Summary:
        """All scenes."""
        started = time.monotonic()
        self.register()
        self.ask_for_consent()
        self.report_results()
        self.say_stop(START + timedelta(days=5))
        self.wait_until(START + timedelta(days=14))
        self.wait_until(START + timedelta(days=28))
        self.close_the_gap(START + timedelta(days=30))
        self.summary.seconds = round(time.monotonic() - started, 1)
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

    def wait_until(self, at: datetime) -> None:
        """Time passes, and everything that falls due meanwhile is done on its day."""
        self.advance(at)
        self.settle()

    def close_the_gap(self, at: datetime) -> None:
        """The first person has the test after all."""
        self.advance(at)
        day = (at - timedelta(days=1)).date()
        self.send_fhir(ONE, synthetic.fhir_hba1c(ONE, day, 6.8), f"has a new HbA1c result of {day}")
        self.settle()

    # -- how it is done

    def advance(self, to: datetime) -> None:
        """Let business time go on to `to`."""
        self.system.advance(to)
        self.now = to

    def settle(self) -> None:
        """Wait until nothing is under way anywhere, the provider's reports included; then tell what happened."""
        self.system.settle()
        while self.http.get(self.system.urls["simulator"] + "/pending").json()["pending"]:
            time.sleep(0.05)
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
        self.say(person, f"allows {_channel(channel)}")

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
        """Count an event and tell it. What time alone brought about belongs to the trace that opened the gap."""
        trace = heard.trace or self.opened_by[heard.data["gap_id"]]
        if heard.type == "GapOpened.v1":
            self.opened_by[heard.data["gap_id"]] = trace
        if trace not in self.summary.trace_ids:
            self.summary.trace_ids.append(trace)
        count(self.summary, heard)
        if words := in_words(heard):
            who = next(person for person, known in self.ids.items() if known == heard.patient_id)
            self.tell(Line(heard.at, who.label, words, trace))


def count(summary: Summary, heard: Heard) -> None:
    """What an event adds to the summary."""
    match heard.type:
        case "GapOpened.v1":
            summary.gaps_opened += 1
        case "GapClosed.v1":
            summary.gaps_closed += 1
        case "MessageSent.v1":
            _add(summary.sent, heard.data["channel"])
        case "OutreachSuppressed.v1":
            _add(summary.suppressed, heard.data["reason"])
        case "CoordinatorReviewRequested.v1":
            summary.reviews += 1


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def in_words(heard: Heard) -> str:
    """An event as a sentence; nothing for those that the next one says better."""
    said = heard.data
    match heard.type:
        case "GapOpened.v1":
            return f"gap opens: {said['rule']} was due on {said['due']}"
        case "GapClosed.v1":
            return f"gap closes: {said['by']} of {said['on']}"
        case "MessageSent.v1":
            return f"attempt {said['attempt']} goes out by {_channel(said['channel'])}"
        case "MessageFailed.v1":
            return f"attempt {said['attempt']} fails: {said['reason']}"
        case "OutreachSuppressed.v1":
            return f"attempt {said['attempt']} is held back: {said['reason']}"
        case "CoordinatorReviewRequested.v1":
            return f"a care coordinator takes over: {said['reason']}"
    return ""


def _channel(name: str) -> str:
    return {"sms": "SMS", "portal": "the portal"}.get(name, name)


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
    settings = system.subscribe(SUBSCRIBER, [topics.GAPS, topics.OUTREACH_MESSAGES])
    trust = ssl.create_default_context(cafile=system.ca_file)
    with (
        closing(Listener(settings)) as listener,
        httpx2.Client(verify=trust, trust_env=False, timeout=30) as http,
    ):
        return Story(system, listener, tell, http).play()


def show(console: Console) -> Callable[[Line], None]:
    """Lines for a terminal."""

    def tell(line: Line) -> None:
        when, trace = f"{line.at:%Y-%m-%d %H:%MZ}", f"  [dim]trace {line.trace}[/]" if line.trace else ""
        text = f"[cyan]{when}[/]  [bold]{line.who:<18}[/] {line.what}{trace}"
        console.print(text, highlight=False, soft_wrap=True)

    return tell


def write(summary: Summary, file: Path) -> None:
    """The summary as JSON."""
    file.write_text(json.dumps(asdict(summary), indent=2) + "\n")
