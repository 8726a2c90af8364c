"""From an HbA1c over HTTP to `GapOpened` on Kafka: throughput, latency and CPU of the whole system on this machine.

N patients with known diabetes exist beforehand; the run sends one result each, dated 400 days ago. It fails unless an
independent reader opens exactly one gap for exactly these patients.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from careloop import subscribers
from careloop.bench import cpu, raw
from careloop.kafka import offset_reader
from careloop.system import System
from phi_common import topics

CONNECTIONS = 16
TOGETHER = 100
LATENCY_RATE, LATENCY_SECONDS = 200, 20
SYSTEM = "http://bench.example/mrn"
ICD10, LOINC = "http://hl7.org/fhir/sid/icd-10-cm", "http://loinc.org"
console = Console(stderr=True)


class Failed(Exception):
    """The run proved nothing, or proved a fault."""


def patient_bundle(numbers: range, phone: Callable[[int], str] | None = None) -> bytes:
    """A transaction of patients, each with diabetes, and with a mobile number where `phone` gives one."""
    entries: list[dict[str, Any]] = []
    for number in numbers:
        me = {"identifier": {"system": SYSTEM, "value": f"BENCH-{number}"}}
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": f"BENCH-{number}"}],
            "name": [{"family": "Benchpatient", "given": [str(number)]}],
            "birthDate": "1970-01-01",
        }
        if phone:
            patient["telecom"] = [{"system": "phone", "use": "mobile", "value": phone(number)}]
        condition = {
            "resourceType": "Condition",
            "id": f"c{number}",
            "code": {"coding": [{"system": ICD10, "code": "E11.9"}]},
            "clinicalStatus": {"coding": [{"code": "active"}]},
            "subject": me,
        }
        for resource in (patient, condition):
            entries.append({"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}})
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


def observation(number: int, day: str) -> bytes:
    """One HbA1c of one patient."""
    return json.dumps(
        {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "4548-4"}]},
            "subject": {"identifier": {"system": SYSTEM, "value": f"BENCH-{number}"}},
            "effectiveDateTime": day,
            "valueQuantity": {"value": 7.2, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
        }
    ).encode()


def run(count: int, out: Path | None) -> dict[str, Any]:
    """The whole benchmark; writes the figures to `out` too."""
    with System.start(kind="bench", trace_ratio=0.0, report=console.print) as system, TemporaryDirectory() as folder:
        bench = Pipeline(system, Path(folder), count)
        figures = bench.measure()
    text = json.dumps(figures, indent=1)
    if out:
        out.write_text(text + "\n")
    print(text)
    return figures


class Pipeline:
    """One system under load."""

    def __init__(self, system: System, folder: Path, count: int) -> None:
        self.system, self.folder, self.count = system, folder, count
        self.extra = LATENCY_RATE * LATENCY_SECONDS
        self.day = (datetime.now(UTC) - timedelta(days=400)).date().isoformat()
        self.patients: list[str] = []

    def measure(self) -> dict[str, Any]:
        """Prepare, then latency at a fixed rate, then throughput."""
        self._prepare()
        with self._watching() as seen:
            slow = self._send(range(self.extra), LATENCY_RATE)
            arrived = self._await(seen, self.patients[: self.extra])
            console.print("latency measured; now as fast as it goes")
            before = self._cpu()
            fast = self._send(range(self.extra, self.extra + self.count), 0)
            opened = self._await(seen, self.patients[: self.extra + self.count])
            used = self._cpu_since(before)
        bare = asyncio.run(raw.measure(self.system.servers.kafka, self.system.servers.postgres, self.count))
        first = min(start for start, _ in fast)
        last = max(opened[patient] for patient in self.patients[self.extra :])
        waits = sorted(
            1000 * (arrived[patient] - start) for patient, (start, _) in zip(self.patients, slow, strict=False)
        )
        total = sum(used.values())
        rate = self.count / (last - first)
        return {
            "events": self.count,
            "connections": CONNECTIONS,
            "events_per_s": round(rate),
            "raw_events_per_s": round(bare),
            "raw_ratio": round(bare / rate, 1),
            "accepted_per_s": round(self.count / (max(end for _, end in fast) - first)),
            "p50_ms": round(waits[len(waits) // 2], 1),
            "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
            "cpu_us_per_event": round(1e6 * total / self.count),
            "cpu_us_by_process": {n: round(1e6 * s / self.count) for n, s in used.most_common() if s / total > 0.005},
        }

    def _prepare(self) -> None:
        total = self.count + self.extra
        console.print(f"making {total:,} patients with diabetes")
        bundles = [patient_bundle(range(a, min(a + TOGETHER, total))) for a in range(0, total, TOGETHER)]
        answers = self._load(bundles, 0, 4, answers=True)
        for answer in answers:
            entries = json.loads(answer)["entry"]
            places = [entry["response"]["location"] for entry in entries[::2]]
            self.patients += [place.partition("Patient/")[2].partition("/")[0] for place in places]
        if len(set(self.patients)) != total:
            raise Failed(f"{len(set(self.patients))} patients instead of {total}")
        console.print("waiting until every service has taken them in")
        self._quiet()

    def _quiet(self, seconds: float = 600) -> None:
        deadline = time.monotonic() + seconds
        names = [program.name for program in self.system.running]
        calm = 0
        while calm < 3:
            if time.monotonic() > deadline:
                raise Failed("the system does not come to rest")
            time.sleep(1)
            states = [self.system.client(name).get("/barrier").json() for name in names if name != "outreach-gate"]
            lag = asyncio.run(self._lag())
            calm = calm + 1 if lag == 0 and all(state["outbox"] == 0 for state in states) else 0
            console.print(f"  waiting: {sum(state['outbox'] for state in states)} to publish, {lag} to handle")

    async def _lag(self) -> int:
        lag = 0
        async with offset_reader(self.system.kafka) as reader:
            ends = await reader.ends()
            for group in {reader for topic in topics.TOPICS.values() for reader in topic.readers}:
                done = await reader.committed(group)
                mine = {name for name, topic in topics.TOPICS.items() if group in topic.readers}
                lag += sum(max(0, end - done.get(at, 0)) for at, end in ends.items() if at.topic in mine)
        return lag

    def _send(self, numbers: range, rate: float) -> list[tuple[float, float]]:
        bodies = [observation(number, self.day) for number in numbers]
        return [(start, end) for start, end in self._load(bodies, rate, CONNECTIONS)]

    def _load(self, bodies: list[bytes], rate: float, connections: int, *, answers: bool = False) -> list[Any]:
        """Run the load generator on these bodies."""
        (self.folder / "bodies").write_bytes(b"\n".join(bodies))
        plan = {
            "url": self.system.urls["ingest-fhir"] + ("/fhir" if answers else "/fhir/Observation"),
            "ca_file": str(self.system.ca_file),
            "token": self.system.token("interface"),
            "bodies": str(self.folder / "bodies"),
            "connections": connections,
            "rate": rate,
            "answers": str(self.folder / "answers") if answers else "",
        }
        (self.folder / "plan").write_text(json.dumps(plan))
        command = [sys.executable, "-m", "careloop.bench.load", str(self.folder / "plan"), str(self.folder / "times")]
        subprocess.run(command, check=True)
        if answers:
            return (self.folder / "answers").read_bytes().splitlines()
        return list(json.loads((self.folder / "times").read_text()))

    @contextmanager
    def _watching(self) -> Iterator[Path]:
        settings = subscribers.add(self.system.describe(), "bench", [topics.GAPS])
        (self.folder / "settings").write_text(json.dumps(settings))
        seen = self.folder / "seen"
        command = [sys.executable, "-m", "careloop.bench.watch", str(self.folder / "settings"), str(seen)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
            self.watcher = watcher.pid
            try:
                if watcher.stdout is None or watcher.stdout.readline() != "ready\n":
                    raise Failed("the reader did not start")
                yield seen
            finally:
                watcher.send_signal(signal.SIGTERM)

    def _await(self, seen: Path, patients: list[str], seconds: float = 300) -> dict[str, float]:
        """Arrival by patient; exactly these patients, each once."""
        deadline = time.monotonic() + seconds
        while len(lines := seen.read_text().splitlines()) < len(patients):
            if time.monotonic() > deadline:
                raise Failed(f"{len(lines)} gaps opened, {len(patients)} expected")
            time.sleep(0.2)
        time.sleep(1)
        found = [json.loads(line) for line in seen.read_text().splitlines()]
        counts = Counter(patient for _, patient in found)
        if set(counts) != set(patients) or max(counts.values()) > 1:
            raise Failed("the gaps that opened are not those of the patients that were sent")
        return {patient: at for at, patient in found}

    def _cpu(self) -> dict[int, float]:
        return cpu.seconds(os.getpid(), {self.watcher})

    def _cpu_since(self, before: dict[int, float]) -> Counter[str]:
        used: Counter[str] = Counter()
        for pid, spent in self._cpu().items():
            used[cpu.name_of(pid)] += spent - before.get(pid, 0.0)  # type: ignore[assignment]  # seconds, not counts
        return used
