"""When nothing is in motion any more, and how a virtual clock goes on from there to the next instant that matters."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
from aiokafka.errors import KafkaError

from careloop.kafka import Kafka, OffsetReader, Offsets, offset_reader
from phi_common.clock import set_virtual, virtual_now
from phi_common.topics import TOPICS

READERS = {topic.name: topic.readers for topic in TOPICS.values()}


class NotSettled(Exception):
    """Something stays in motion; the message says what."""


@dataclass(frozen=True)
class Picture:
    """All that was seen at one moment."""

    ends: Offsets
    behind: list[str]
    barriers: dict[str, dict[str, Any]]
    pending: int

    def unrest(self, now: datetime) -> list[str]:
        """What still moves."""
        found = list(self.behind)
        for name, barrier in self.barriers.items():
            found += [f"{name}: {what} {barrier[what]}" for what in ("outbox", "busy") if barrier[what]]
            if barrier["due"] and datetime.fromisoformat(barrier["due"]) <= now:
                found.append(f"{name}: a sweep is due")
        if self.pending:
            found.append(f"simulator: {self.pending} webhooks")
        return found

    def next_due(self) -> datetime | None:
        """The first instant at which a state changes by time alone."""
        dues = [datetime.fromisoformat(barrier["due"]) for barrier in self.barriers.values() if barrier["due"]]
        return min(dues, default=None)


@dataclass(frozen=True)
class World:
    """A system with a virtual clock, as the barrier needs to see it."""

    broker: Kafka
    urls: Mapping[str, str]
    """The programs that answer `/barrier`."""
    simulator: str | None
    clock_file: Path

    def now(self) -> datetime:
        """The virtual instant."""
        return virtual_now(self.clock_file)()

    async def _look(self, http: httpx2.AsyncClient, offsets: OffsetReader) -> Picture:
        groups = [name for name in self.urls if any(name in readers for readers in READERS.values())]
        ends = await offsets.ends()
        committed = {group: await offsets.committed(group) for group in groups}
        behind = []
        for where, end in ends.items():
            late = [g for g in groups if g in READERS[where.topic] and committed[g].get(where, 0) < end]
            behind += [f"{group}: behind on {where.topic}" for group in late]
        answers = await asyncio.gather(*(http.get(f"{url}/barrier") for url in self.urls.values()))
        barriers = {name: a.raise_for_status().json() for name, a in zip(self.urls, answers, strict=True)}
        pending = (await http.get(f"{self.simulator}/pending")).json()["pending"] if self.simulator else 0
        return Picture(ends, sorted(set(behind)), barriers, pending)

    async def settle(self, seconds: float = 90) -> Picture:
        """Wait until nothing moves; what does not answer for a while is asked again on new connections."""
        deadline = time.monotonic() + seconds
        trust = ssl.create_default_context(cafile=self.broker.ca_file)
        async with httpx2.AsyncClient(verify=trust, trust_env=False, timeout=10) as http:
            while True:
                try:
                    async with offset_reader(self.broker) as offsets:
                        return await self._calm(http, offsets, deadline)
                except (httpx2.HTTPError, KafkaError) as error:
                    if time.monotonic() > deadline:
                        raise NotSettled(f"no answer: {type(error).__name__}") from None
                await asyncio.sleep(0.2)

    async def _calm(self, http: httpx2.AsyncClient, offsets: OffsetReader, deadline: float) -> Picture:
        """Twice the same picture, with all read, all sent and nothing in hand."""
        before: Offsets | None = None
        unrest: list[str] = []
        while time.monotonic() < deadline:
            picture = await self._look(http, offsets)
            unrest = picture.unrest(self.now())
            if not unrest and picture.ends == before:
                return picture
            before = None if unrest else picture.ends
            await asyncio.sleep(0.05)
        raise NotSettled("; ".join(unrest) or "new events all the time")

    async def advance(self, target: datetime) -> int:
        """Go to `target` by way of each due instant before it; how many those were is the answer."""
        steps = 0
        picture = await self.settle()
        while (due := picture.next_due()) and due <= target:
            set_virtual(self.clock_file, due)
            steps += 1
            picture = await self.settle()
        set_virtual(self.clock_file, max(target, self.now()))
        await self.settle()
        return steps
