"""The wrapper: the only place that knows inbox, locks, folding and failure. Services write `subscribe(...)`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import sqlalchemy.exc

from phi_common.decision import Command, DeadLettered, Decision
from phi_common.eventing import dead_letters, erasure, inbox
from phi_common.eventing.envelope import Bad, Received, open_record
from phi_common.eventing.erasure import Erase
from phi_common.events import Event
from phi_common.events.patients import PatientErased
from phi_common.keys import TopicKeys
from phi_common.logs import log
from phi_common.metrics import BATCH_SECONDS
from phi_common.telemetry import new_traceparent, sampled, span
from phi_common.transaction import Erased, Tx
from phi_common.vault import VaultUnavailable

if TYPE_CHECKING:
    from phi_common.runtime import Runtime

Decider = Callable[[Any, Any, datetime], Decision[Any]]
Load = Callable[[Tx, Sequence[UUID]], Awaitable[dict[UUID, Any]]]
"""The state of every id, an empty one where there is none; nothing of a patient whom `tx` does not know is opened."""
Save = Callable[[Tx, dict[UUID, Any]], Awaitable[None]]

TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    VaultUnavailable,
    ConnectionError,
    TimeoutError,
)
REFUSED = (psycopg.IntegrityError, psycopg.DataError, sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)
FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0
STOP_THE_LINE = 20
BATCH = 500


class LineStopped(Exception):
    """Too many dead letters in a row: the deployment is bad, not the messages."""


@dataclass
class Fold:
    """Per-subject states while events are applied one by one, in order."""

    states: dict[UUID, Any]
    changed: dict[UUID, Any] = field(default_factory=dict)
    events: list[tuple[Event, str]] = field(default_factory=list)
    applied: list[Received] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)

    def apply(self, decider: Decider, message: Event | Command, now: datetime, traceparent: str) -> None:
        """Apply one message; a decider that raises changes nothing.

        What follows from a message belongs to its trace. What time alone brings about belongs to the trace that the
        decider remembers, else to a new one.
        """
        subject = message.patient_id
        before = self.states[subject]
        decision = decider(before, message, now)
        if decision.state != before:
            self.states[subject] = self.changed[subject] = decision.state
        if decision.events:
            own = traceparent or new_traceparent()
            self.events.extend((event, traceparent or event.trace or own) for event in decision.events)


@dataclass(frozen=True)
class Subscription:
    """One topic's deciders and how their states are kept; also the path of commands and timers."""

    topic: str
    decide: Mapping[type[Event] | type[Command], Decider]
    load: Load
    save: Save
    ordered: bool = True
    despite_parking: Callable[[Event], bool] = lambda event: False
    """Events that must take effect even behind a dead letter: an opt-out, a death."""
    erase: Erase | None = None
    """With it `PatientErased` is followed: the wrapper destroys the key, this clears the service's own rows."""
    run_of_bad: list[int] = field(default_factory=lambda: [0], compare=False)

    @property
    def classes(self) -> dict[str, type[Event]]:
        """Event classes by type name."""
        erased = (PatientErased,) if self.erase else ()
        return {kind.type: kind for kind in (*self.decide, *erased) if issubclass(kind, Event)}

    async def handle(self, runtime: "Runtime", records: Sequence[Any]) -> None:
        """Handle records of this topic for good: applied, or kept as dead letters. Raises only `LineStopped`."""
        wait = FIRST_WAIT
        while True:
            try:
                opened = await _open(records, self.classes, runtime.db.topic_keys)
                with (
                    BATCH_SECONDS.labels(self.topic).time(),
                    span(f"{self.topic} process", links=_traces(opened), topic=self.topic, count=len(records)),
                ):
                    await self._by_halves(runtime, opened)
                break
            except TRANSIENT as error:
                runtime.stumble(self.topic, error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        runtime.recovered(self.topic)

    async def _by_halves(self, runtime: "Runtime", batch: Sequence[Received | Bad]) -> None:
        """Apply a batch in one transaction; when that fails, find the culprit by halving, keys kept whole."""
        try:
            await self._apply(runtime, batch)
        except (LineStopped, *TRANSIENT):
            raise
        except Exception as error:  # a refusal of the database, or a state that cannot be loaded or saved
            parts = _halves(batch)
            if len(parts) == 1:
                await self._put_aside(runtime, _refused(batch[0], error))
                return
            for part in parts:
                await self._by_halves(runtime, part)

    async def _put_aside(self, runtime: "Runtime", letter: Bad) -> None:
        """Keep the culprit; without its patient's state when just that is what cannot be read."""
        try:
            await self._apply(runtime, [letter])
        except (LineStopped, *TRANSIENT):
            raise
        except Exception:
            async with runtime.db.transaction(runtime.name) as tx:
                tx.lock_ahead([letter.patient_id] if letter.patient_id else [])
                if not letter.event_id.int or await tx.rows(inbox.CLAIM, [[letter.event_id]]):
                    dead_letters.add(tx, [letter])
            self._watch_the_line(runtime, Fold({}, bad=[letter]))

    async def _apply(self, runtime: "Runtime", batch: Sequence[Received | Bad]) -> None:
        async with runtime.db.transaction(runtime.name) as tx:
            done = await self._fold(tx, _distinct(batch))
        self._watch_the_line(runtime, done)

    async def _fold(self, tx: Tx, batch: Sequence[Received | Bad]) -> Fold:
        """Claims, locks, keys and states in one round trip; then one event after the other; then what comes of it."""
        subjects = list({subject for one in batch if (subject := _subject(one))})
        claimed = inbox.claim(tx, [one.event_id for one in batch if one.event_id.int])
        tx.lock_ahead(subjects)
        parked = dead_letters.parked(tx, self.topic, subjects) if self.ordered else None
        needed = list({subject for one in batch if (subject := _subject(one)) and not _is_erasure(one)})
        done = Fold(await self.load(tx, needed) if needed else {})  # who is erased need not be readable
        await tx.arrive()
        fresh = {event_id for (event_id,) in await claimed.rows()}
        held = {patient for (patient,) in await parked.rows()} if parked else set()
        batch = [one for one in batch if one.event_id in fresh or not one.event_id.int]
        await erasure.follow(tx, [one for one in batch if isinstance(one, Received)], self.erase)
        for one in batch:
            self._one(tx, done, one, held)
        for letter in done.bad:
            self._spoil(done, letter, tx.now)
        dead_letters.add(tx, done.bad)
        await self._finish(tx, done)
        return done

    def _one(self, tx: Tx, done: Fold, one: Received | Bad, held: set[UUID]) -> None:
        subject = _subject(one)
        if subject in tx.erased:
            return
        letter = one if isinstance(one, Bad) else self._decided(done, one, held, tx.now)
        if letter:
            done.bad.append(letter)
            if self.ordered and subject:
                held.add(subject)

    def _decided(self, done: Fold, one: Received, held: set[UUID], now: datetime) -> Bad | None:
        """Apply one event; what is left of it if that cannot be."""
        subject, kind = one.event.patient_id, one.event.type
        if subject in held and not self.despite_parking(one.event):
            return Bad(one.record, one.event_id, subject, kind, dead_letters.PARKED)
        try:
            if sampled(one.traceparent):
                with span(f"apply {kind}", one.traceparent, event_type=kind):
                    done.apply(self.decide[type(one.event)], one.event, now, one.traceparent)
            else:
                done.apply(self.decide[type(one.event)], one.event, now, one.traceparent)
        except Exception as error:  # whatever a decider raises is that one event's fault
            return Bad(one.record, one.event_id, subject, kind, type(error).__name__)
        done.applied.append(one)
        return None

    def _spoil(self, done: Fold, one: Bad, now: datetime) -> None:
        decider = self.decide.get(DeadLettered)
        if decider and one.patient_id in done.states:
            came_with = (dict(one.record.headers).get("traceparent") or b"").decode("latin-1")
            done.apply(decider, DeadLettered(one.patient_id, one.type), now, new_traceparent(came_with))

    async def _finish(self, tx: Tx, done: Fold) -> None:
        if done.changed:
            await self.save(tx, done.changed)
        for event, traceparent in done.events:
            tx.emit(event, traceparent)
        for one in done.applied:
            tx.audit("apply:" + one.event.type, one.event.patient_id, str(one.event_id), one.traceparent)

    def _watch_the_line(self, runtime: "Runtime", done: Fold) -> None:
        failures = [one for one in done.bad if one.reason != dead_letters.PARKED]
        good = len(done.applied)
        runtime.count(self.topic, good, failures)
        self.run_of_bad[0] = len(failures) + (0 if good else self.run_of_bad[0])
        if failures and not good and self.run_of_bad[0] >= STOP_THE_LINE:
            raise LineStopped(self.topic)

    async def within(self, tx: Tx, commands: Iterable[Command]) -> dict[UUID, Any]:
        """Run commands by the same deciders inside the caller's transaction; a decider's `Refused` passes through."""
        commands = list(commands)
        subjects = {command.patient_id for command in commands}
        tx.lock_ahead(subjects)
        done = Fold(await self.load(tx, list(subjects)))
        await tx.arrive()
        if subjects & tx.erased:
            raise Erased
        for command in commands:
            done.apply(self.decide[type(command)], command, tx.now, tx.traceparent)
            tx.audit("command:" + type(command).__name__, command.patient_id)
        await self._finish(tx, done)
        return done.states

    async def act(self, runtime: "Runtime", commands: Iterable[Command], actor: str) -> dict[UUID, Any]:
        """Run commands in a transaction of their own."""
        async with runtime.db.transaction(actor) as tx:
            return await self.within(tx, commands)

    async def redrive(self, runtime: "Runtime", actor: str) -> int:
        """Feed the dead letters of this topic through the same path again, patient by patient, oldest first.

        What fails again is kept again; what the database refuses stays as it was. How many letters were applied.
        Each patient is a transaction with its own audit row: a letter that cannot be applied holds up no other's.
        """
        async with runtime.db.transaction(runtime.name) as tx:
            waiting = await dead_letters.waiting(tx, self.topic)
        applied = 0
        for letters in waiting:
            try:
                applied += await self._redrive(runtime, letters, actor)
            except REFUSED as error:
                log.warning("redrive_refused", error, topic=self.topic)
        return applied

    async def _redrive(self, runtime: "Runtime", letters: Sequence[int], actor: str) -> int:
        async with runtime.db.transaction(actor) as tx:
            records = await dead_letters.take(tx, letters)
            if not records:  # another redrive was here first
                return 0
            done = await self._fold(tx, await _open(records, self.classes, runtime.db.topic_keys))
            key, applied = records[0].key, len(done.applied)
            tx.audit("redrive:" + self.topic, UUID(key.decode()) if key else None, f"{applied}/{len(records)}")
        return applied


def subscribe(
    topic: str,
    *,
    decide: Mapping[type[Event] | type[Command], Decider],
    load: Load,
    save: Save,
    ordered: bool = True,
    despite_parking: Callable[[Event], bool] = lambda event: False,
    erase: Erase | None = None,
) -> Subscription:
    """All that a service author writes for one topic."""
    return Subscription(topic, decide, load, save, ordered, despite_parking, erase)


async def _no_states(tx: Tx, patients: Sequence[UUID]) -> dict[UUID, Any]:
    return dict.fromkeys(patients)


async def _no_news(tx: Tx, changed: dict[UUID, Any]) -> None:
    raise RuntimeError("nothing decides here")


def follow_erasures(erase: Erase) -> Subscription:
    """For a service that hears nothing else of the topic that erasures come on."""
    return Subscription(PatientErased.topic, {}, _no_states, _no_news, erase=erase)


async def _open(records: Sequence[Any], classes: Mapping[str, type[Event]], keys: TopicKeys) -> list[Received | Bad]:
    opened = [await open_record(record, classes, keys) for record in records]
    return [one for one in opened if one is not None]


def _distinct(batch: Sequence[Received | Bad]) -> list[Received | Bad]:
    """Each event once: a batch may hold the same one twice, and a claim names both."""
    found: dict[object, Received | Bad] = {}
    for one in batch:
        found.setdefault(one.event_id if one.event_id.int else object(), one)
    return list(found.values())


def _traces(batch: Sequence[Received | Bad]) -> list[str]:
    return [one.traceparent for one in batch if isinstance(one, Received) and sampled(one.traceparent)]


def _is_erasure(one: Received | Bad) -> bool:
    return isinstance(one, Received) and isinstance(one.event, PatientErased)


def _subject(one: Received | Bad) -> UUID | None:
    return one.event.patient_id if isinstance(one, Received) else one.patient_id


def _halves(batch: Sequence[Received | Bad]) -> list[Sequence[Received | Bad]]:
    """Two halves with whole keys; a single key's events one by one; a single event as it is."""
    subjects = list(dict.fromkeys(_subject(one) for one in batch))
    if len(subjects) == 1:
        return [[one] for one in batch]
    left = set(subjects[: len(subjects) // 2])
    return [[o for o in batch if _subject(o) in left], [o for o in batch if _subject(o) not in left]]


def _refused(one: Received | Bad, error: Exception) -> Bad:
    kind = one.event.type if isinstance(one, Received) else one.type
    return Bad(one.record, one.event_id, _subject(one), kind, type(error).__name__)
