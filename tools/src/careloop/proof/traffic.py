"""A client that keeps a journal: what was acknowledged, and nothing else, is what must not be lost."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from datetime import timedelta

import httpx2

from careloop.bench.pipeline import observation, patient_bundle
from careloop.story import START
from careloop.system import System

CONNECTIONS = 8
TOGETHER = 50
WITH_SMS = 5
"""Every fifth patient allows texts."""
PATIENCE = 600.0
DAY = (START - timedelta(days=400)).date().isoformat()


@dataclass
class Client:
    """Sends each request until it is acknowledged, always under the same key."""

    system: System
    patients: list[str] = field(default_factory=list)
    journal: list[int] = field(default_factory=list)
    """The numbers of the results that were answered with 201."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Who answered STOP: patient id to number."""
    retries: int = 0

    def http(self) -> httpx2.AsyncClient:
        """A client that trusts this run."""
        trust = ssl.create_default_context(cafile=self.system.ca_file)
        return httpx2.AsyncClient(verify=trust, trust_env=False, timeout=20)

    async def insist(self, http: httpx2.AsyncClient, method: str, where: str, path: str, role: str, key: str,
                     body: bytes) -> httpx2.Response:  # fmt: skip
        """Repeat until there is an answer other than "not now"."""
        headers = {
            "Authorization": f"Bearer {self.system.token(role)}",
            "Content-Type": "application/fhir+json" if where == "ingest-fhir" else "application/json",
            "Idempotency-Key": key,
        }
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    answer = await http.request(method, self.system.urls[where] + path, headers=headers, content=body)
                    if answer.status_code < 500:
                        return answer
                except httpx2.TransportError:
                    pass
                self.retries += 1
                await asyncio.sleep(0.25)

    async def prepare(self, count: int) -> None:
        """Patients with diabetes; some allow texts."""
        async with self.http() as http:
            for first in range(0, count, TOGETHER):
                numbers = range(first, min(first + TOGETHER, count))
                answer = await self.insist(
                    http, "POST", "ingest-fhir", "/fhir", "interface", f"setup-{first}", patient_bundle(numbers, phone)
                )
                entries = answer.json()["entry"][::2]
                places = [entry["response"]["location"] for entry in entries]
                self.patients += [place.partition("Patient/")[2].partition("/")[0] for place in places]
            for patient in self.patients[::WITH_SMS]:
                said = {"permission": "allowed", "preferred": True, "wording": "proof-1", "evidence": "made up"}
                path = f"/patients/{patient}/preferences/sms"
                key = f"allow-{patient}"
                answer = await self.insist(
                    http, "PUT", "consent", path, "care-coordinator", key, json.dumps(said).encode()
                )
                if answer.status_code != 200:
                    raise RuntimeError(f"consent: {answer.status_code}")

    async def send(self, count: int) -> None:
        """One result for each patient."""
        todo = iter(range(count))

        async def work(http: httpx2.AsyncClient) -> None:
            for number in todo:
                answer = await self.insist(
                    http, "POST", "ingest-fhir", "/fhir/Observation", "interface", f"result-{number}",
                    observation(number, DAY),
                )  # fmt: skip
                if answer.status_code not in (200, 201):
                    raise RuntimeError(f"result: {answer.status_code}")
                self.journal.append(number)

        async with self.http() as http:
            await asyncio.gather(*(work(http) for _ in range(CONNECTIONS)))

    async def stop(self, count: int) -> None:
        """Every other patient who allows texts answers STOP, some twice, spread over the traffic."""
        async with self.http() as http:
            for number in range(0, count, 2 * WITH_SMS):
                while len(self.journal) < number:  # noqa: ASYNC110 (it is the traffic that is awaited)
                    await asyncio.sleep(0.05)
                for _ in range(1 + number // WITH_SMS % 4 // 2):
                    answer = await http.post(
                        f"{self.system.urls['simulator']}/inbound", json={"from": phone(number), "body": "STOP"}
                    )
                    answer.raise_for_status()
                self.stopped[self.patients[number]] = phone(number)


def phone(number: int) -> str:
    """Each patient's own number; an exchange that no subscriber has."""
    return f"+1{212 + number // 8000 % 700}555{1000 + number % 8000:04}"
