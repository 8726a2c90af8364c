"""Kill -9 of whatever runs, in mid-traffic: nothing acknowledged is lost, nothing happens twice.

Judged from outside: the client's own journal, Kafka read by an independent client, the provider's journal, the permits
that consent granted, and the audit trail recomputed.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from careloop import subscribers
from careloop.listener import Listener
from careloop.proof.optouts import OptOut, judge
from careloop.proof.traffic import WITH_SMS, Client
from careloop.story import START
from careloop.system import System
from phi_common import audit, topics

SERVERS = ("postgres", "kafka", "openbao")
PAUSE = (2.0, 4.0)
SETTLE_SECONDS = 300.0
PERMITS = "SELECT message_id, optout_id FROM permits"
OPT_OUTS = """
SELECT id, extract(epoch FROM received_at)::float8, extract(epoch FROM effective_at)::float8, patient_ids[1]
FROM optouts WHERE effective_at IS NOT NULL AND patient_ids[1] = ANY(%s::uuid[])
"""
console = Console(stderr=True)


@dataclass
class Findings:
    """What was seen; every fault must be 0."""

    accepted: int = 0
    lost: int = 0
    duplicate_effects: int = 0
    duplicate_sends: int = 0
    sends_without_permit: int = 0
    sends_after_optout: int = 0
    """The one confirmation of an opt-out is none; a second one is."""
    audit_breaks: int = 0
    sends: int = 0
    optouts: int = 0
    confirmations: int = 0
    retries: int = 0
    seconds: float = 0.0
    victims: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """No fault, and not for want of traffic."""
        faults = self.lost + self.duplicate_effects + self.duplicate_sends + self.sends_after_optout
        return self.accepted > 0 and faults + self.sends_without_permit + self.audit_breaks == 0


def run(
    events: int,
    kills: int,
    seed: int,
    out: Path | None = None,
    *,
    environment: Mapping[str, Mapping[str, str]] | None = None,
    only: tuple[str, ...] = (),
) -> Findings:
    """One storm. `environment` plants faults in single programs; `only` names the victims."""
    began = time.monotonic()
    with System.start(START, kind="proof", trace_ratio=0.0, environment=environment, report=console.print) as system:
        findings, client = asyncio.run(_storm(system, events, kills, random.Random(seed), only))  # noqa: S311 (chooses victims)
        console.print("the storm is over; waiting until everything has come to rest")
        asyncio.run(system.world().settle(SETTLE_SECONDS))
        time.sleep(2)  # the sealers' last blocks
        _judge(system, findings, client)
    findings.seconds = round(time.monotonic() - began, 1)
    text = json.dumps(asdict(findings), indent=1)
    if out:
        out.write_text(text + "\n")
    print(text)
    return findings


async def _storm(
    system: System, events: int, kills: int, chance: random.Random, only: tuple[str, ...]
) -> tuple[Findings, Client]:
    client = Client(system)
    console.print(f"making {events} patients")
    await client.prepare(events)
    await system.world().settle(SETTLE_SECONDS)
    console.print(f"sending {events} results and killing {kills} times")
    victims: Counter[str] = Counter()
    traffic = asyncio.gather(client.send(events), client.stop(events))
    possible = only or (*(program.name for program in system.running), *SERVERS)
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(*PAUSE))
        victim = chance.choice(possible)
        victims[victim] += 1
        system.kill(victim)
        console.print(f"  killed {victim}; {len(client.journal)} accepted so far")
    await traffic
    found = Findings(accepted=len(client.journal), retries=client.retries, victims=dict(victims))
    return found, client


def _judge(system: System, found: Findings, client: Client) -> None:
    accepted = [client.patients[number] for number in client.journal]
    listener = Listener(subscribers.add(system.describe(), "proof", [topics.GAPS]))
    opened = Counter(str(h.patient_id) for h in _once(listener) if h.type == "GapOpened.v1")
    listener.close()
    found.lost = sum(opened[patient] == 0 for patient in accepted)
    found.duplicate_effects = sum(times - 1 for times in opened.values() if times > 1)
    texts = [json.loads(line) for line in (system.servers.run.data / "simulator.jsonl").read_text().splitlines()]
    sent = Counter(text["tag"] for text in texts)
    found.sends = sum(sent.values())
    found.duplicate_sends = sum(times - 1 for times in sent.values())
    with _admin(system, "consent") as pg:
        permitted = {str(message): optout for message, optout in pg.execute(PERMITS).fetchall()}
        stops = {str(one): times for one, *times in pg.execute(OPT_OUTS, [list(client.stopped)]).fetchall()}
    found.sends_without_permit = len(sent.keys() - permitted.keys())
    _judge_opt_outs(found, texts, client, permitted, stops)
    expected = len(accepted[::WITH_SMS])
    if found.sends == 0 and expected:
        raise RuntimeError("no message went out: the proof would say nothing about sends")
    found.audit_breaks = sum(len(asyncio.run(_audit(system, p.module))) for p in system.running if p.verb == "serve")


def _judge_opt_outs(
    found: Findings, texts: list[Any], client: Client, permitted: dict[str, Any], stops: dict[str, Any]
) -> None:
    if missing := client.stopped.keys() - {str(patient) for _, _, patient in stops.values()}:
        raise RuntimeError(f"{len(missing)} answered STOP and have no opt-out in effect")
    numbers = client.stopped
    optouts = [OptOut(one, numbers[str(p)], received, effective) for one, (received, effective, p) in stops.items()]
    confirms = {message: str(optout) for message, optout in permitted.items() if optout}
    verdict = judge(texts, optouts, confirms)
    found.optouts, found.confirmations = len(client.stopped), verdict.confirmations
    found.sends_after_optout = verdict.violations


def _once(listener: Listener) -> list[Any]:
    """Delivery is at least once; the same event delivered again is no second effect."""
    seen: dict[Any, Any] = {}
    for heard in listener.news():
        seen.setdefault(heard.id, heard)
    return list(seen.values())


async def _audit(system: System, database: str) -> list[str]:
    found = system.servers
    async with await psycopg.AsyncConnection.connect(**_login(system, database), autocommit=True) as pg:
        name = database.replace("_", "-")
        lines = (found.run.data / "anchors" / f"{name}.jsonl").read_text().splitlines()
        heads = {anchor["block"]: anchor["head"] for anchor in map(json.loads, lines)}
        return await audit.verify(pg, heads)


def _admin(system: System, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(**_login(system, database))


def _login(system: System, database: str) -> dict[str, Any]:
    found = system.describe()["postgres"]
    return {
        "host": "127.0.0.1", "port": found["port"], "user": found["admin"], "password": found["password"],
        "dbname": database, "sslmode": "verify-full", "sslrootcert": str(system.ca_file),
    }  # fmt: skip
