"""A sender that asks once and says what it was answered: no patience, since the answers are what is tested."""

import json
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import psycopg

from careloop import synthetic
from careloop.story import mllp
from careloop.synthetic import Person
from careloop.system import System

FHIR = "application/fhir+json"
PATIENCE = 60.0


def person(number: int) -> Person:
    """Someone who does not exist, under a number of the range that is kept for fiction."""
    return Person(number, f"No{number}", "Testpatient", date(1960, 1, 1), "female", f"+120255501{number:02}")


@dataclass(frozen=True)
class Sender:
    """The EHR, a coordinator and an administrator of one system."""

    system: System

    def fhir(self, body: bytes, path: str = "/fhir", **headers: str) -> httpx2.Response:
        """One POST."""
        with self.system.client("ingest-fhir", "interface", timeout=20) as http:
            return http.post(path, content=body, headers={"Content-Type": FHIR} | headers)

    def hl7(self, message: bytes) -> list[str]:
        """MSA and ERR of the acknowledgement of one message."""
        lines = self.acknowledgement(message).decode().split("\r")
        return [line for line in lines if line[:3] in ("MSA", "ERR")]

    def acknowledgement(self, message: bytes) -> bytes:
        """The whole answer to one message."""
        return mllp(self.mllp_address, self.system.ca_file, message)

    @property
    def mllp_address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.system.urls["mllp"].partition(":")
        return host, int(port)

    def find(self, who: Person) -> UUID:
        """Our own id of a person."""
        with self.system.client("ingest-fhir", "interface") as http:
            found = http.post("/fhir/Patient/_search", data={"identifier": who.token}).json()
        return UUID(found["entry"][0]["resource"]["id"])

    def prefer(self, patient: UUID, permission: str, key: str) -> tuple[int, str]:
        """A coordinator opens or closes texts; status and state of the answer."""
        said = {"permission": permission, "wording": "sms-1", "evidence": "made up"}
        with self.system.client("consent", "care-coordinator") as http:
            path = f"/patients/{patient}/preferences/sms"
            answer = http.put(path, json=said, headers={"Idempotency-Key": f"{patient}-{key}"})
        return answer.status_code, answer.json()["state"]

    def said(self, patient: UUID) -> str:
        """What consent has on record about texts."""
        with self.system.client("consent", "care-coordinator") as http:
            found = http.get(f"/patients/{patient}/preferences").json()
        return str(found["channels"]["sms"]["permission"])

    def reached_by_text(self, who: Person, now: datetime) -> UUID:
        """Registered, with diabetes, a test overdue and texts allowed; the first text has gone out."""
        assert self.hl7(synthetic.hl7_registration(who, now))[0].startswith("MSA|AA|")
        self.system.settle()
        patient = self.find(who)
        assert self.prefer(patient, "allowed", "allow") == (200, "effective")
        day = (now - timedelta(days=400)).date()
        assert self.hl7(synthetic.hl7_hba1c(who, day, 7.4, now))[0].startswith("MSA|AA|")
        self.system.settle()
        assert len(self.texts(who)) == 1
        return patient

    def texts(self, who: Person) -> list[dict[str, Any]]:
        """What the provider was given for a person's number."""
        lines = (self.system.servers.run.data / "simulator.jsonl").read_text().splitlines()
        return [found for found in map(json.loads, lines) if found["to"] == who.phone]

    def sql(self, database: str, statement: str, *values: Any) -> list[Any]:
        """Ask a service's database from outside."""
        found = self.system.describe()["postgres"]
        login = {"user": found["admin"], "password": found["password"], "port": found["port"], "host": "127.0.0.1"}
        tls = {"sslmode": "verify-full", "sslrootcert": str(self.system.ca_file)}
        with psycopg.connect(dbname=database, **login, **tls) as pg:
            cursor = pg.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def troubles(self, name: str) -> dict[str, str]:
        """What readiness says."""
        with self.system.client(name, timeout=20) as http:
            return dict(http.get("/readyz").json()["troubles"])


def until(condition: Any, seconds: float = PATIENCE) -> Any:
    """The first true answer of `condition`, which must come in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return found
