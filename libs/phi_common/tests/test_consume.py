"""The wrapper on a real database: once, in order, and nothing lost whatever comes."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from phi_common.crypto import Undecryptable
from phi_common.db import LARGEST_EVENT
from phi_common.decision import Command, DeadLettered, Decision
from phi_common.eventing.consume import STOP_THE_LINE, LineStopped
from phi_common.eventing.outbox import Relay
from phi_common.events.care_gap import ClosedBy, GapClosed, GapDueSoon, GapOpened
from phi_common.events.patients import Basis, PatientErased
from phi_common.telemetry import is_traceparent
from phi_common.testing import emitted, record
from phi_common.transaction import NotCommitted

REMEMBERED = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"


def opened(patient: UUID, rule: str = "rule") -> GapOpened:
    return GapOpened(patient_id=patient, gap_id=uuid4(), rule=rule, rule_version="1", due=date(2026, 1, 1))


def closed(patient: UUID) -> GapClosed:
    return GapClosed(
        patient_id=patient,
        gap_id=uuid4(),
        rule="rule",
        rule_version="1",
        by=ClosedBy.EVIDENCE,
        on=date(2026, 1, 1),
    )


def letters(pg: Any) -> list[tuple[str, str]]:
    return pg.execute("SELECT type, reason FROM dead_letters ORDER BY id").fetchall()


async def test_an_event_takes_effect_once_however_often_it_comes(runtime, ordered, tally, pg):
    patient = uuid4()
    first = record(opened(patient, "a"))
    await ordered.handle(runtime, [first, first])
    await ordered.handle(runtime, [first, record(opened(patient, "b"))])
    assert await tally(runtime, patient) == ("a", "b")
    assert pg.execute("SELECT count(*) FROM audit WHERE action LIKE 'apply:%'").fetchone() == (2,)


async def test_one_batch_keeps_order_per_key_and_mixes_keys(runtime, ordered, tally):
    patients = [uuid4() for _ in range(5)]
    await ordered.handle(runtime, [record(opened(p, f"{i}")) for i in range(20) for p in patients])
    for patient in patients:
        assert await tally(runtime, patient) == tuple(f"{i}" for i in range(20))


async def test_a_decider_that_raises_parks_only_its_own_key(runtime, ordered, tally, pg):
    bad, good = uuid4(), uuid4()
    batch = [opened(bad, "a"), opened(bad, "raise"), opened(good, "x"), opened(bad, "b")]
    await ordered.handle(runtime, [record(event) for event in batch])
    await ordered.handle(runtime, [record(opened(bad, "c")), record(closed(bad))])
    assert await tally(runtime, good) == ("x",)
    assert await tally(runtime, bad) == ("a", "closed"), "an event that must not wait was applied all the same"
    assert [reason for _, reason in letters(pg)] == ["ValueError", "Parked", "Parked"]


async def test_a_letter_of_another_topic_parks_nothing_here(runtime, ordered, tally, pg):
    patient = uuid4()
    await ordered.handle(runtime, [record(opened(patient, "raise"))])
    pg.execute("UPDATE dead_letters SET topic = 'another'")
    await ordered.handle(runtime, [record(opened(patient, "a"))])
    assert await tally(runtime, patient) == ("a",)


async def test_a_subject_hears_that_an_event_of_its_own_waits(runtime, unordered, tally):
    """So that what depends on it can be called unknown."""

    def spoilt(state: Any, command: DeadLettered, now: Any) -> Any:
        return Decision(replace(state, rules=(*state.rules, "without " + command.type)))

    patient = uuid4()
    hearing = replace(unordered, decide={**unordered.decide, DeadLettered: spoilt})
    await hearing.handle(runtime, [record(opened(patient, rule)) for rule in ("raise", "a")])
    assert await tally(runtime, patient) == ("a", "without GapOpened.v1")


async def test_facts_are_not_parked(runtime, unordered, tally, pg):
    patient = uuid4()
    await unordered.handle(runtime, [record(opened(patient, rule)) for rule in ("a", "raise", "b")])
    assert await tally(runtime, patient) == ("a", "b")
    assert letters(pg) == [("GapOpened.v1", "ValueError")]


async def test_redrive_replays_what_was_parked_in_order(runtime, ordered, tally, pg, monkeypatch):
    patient = uuid4()
    await ordered.handle(runtime, [record(opened(patient, rule)) for rule in ("raise", "b", "c")])
    mended = ordered.decide | {GapOpened: lambda s, e, n: _note(s, e)}
    again = type(ordered)(ordered.topic, mended, ordered.load, ordered.save)
    assert await again.redrive(runtime, "operator") == 3
    assert await tally(runtime, patient) == ("raise", "b", "c")
    assert letters(pg) == []
    assert await again.redrive(runtime, "operator") == 0


def _note(state: Any, event: GapOpened) -> Any:
    return Decision(replace(state, rules=(*state.rules, event.rule)))


async def test_halving_keeps_the_events_of_a_key_together(runtime, ordered, tally, pg):
    first, bad = uuid4(), uuid4()
    batch = [opened(first, "a"), opened(bad, "refuse"), opened(bad, "b"), opened(first, "b")]
    seen: list[tuple[str, ...]] = []
    plain = ordered.save

    async def save(tx: Any, states: Any) -> None:
        seen.extend(state.rules for patient, state in states.items() if patient == first)
        await plain(tx, states)

    await replace(ordered, save=save).handle(runtime, [record(event) for event in batch])
    assert set(seen) == {("a", "b")}, "never only a part of them"
    assert letters(pg) == [("GapOpened.v1", "CheckViolation"), ("GapOpened.v1", "Parked")]


async def test_a_row_that_the_database_refuses_is_found_among_many(runtime, ordered, tally, pg):
    patients = [uuid4() for _ in range(60)]
    batch = [record(opened(p, "a")) for p in patients]
    batch.insert(30, record(opened(patients[7], "refuse")))
    await ordered.handle(runtime, batch)
    assert letters(pg) == [("GapOpened.v1", "CheckViolation")]
    assert {await tally(runtime, p) for p in patients} == {("a",)}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (dict(body=b"{"), "ValidationError"),
        (dict(body=b'{"patient_id": "00000000-0000-0000-0000-000000000001"}'), "ValidationError"),
    ],
)
async def test_bytes_that_are_no_event_become_a_dead_letter(runtime, ordered, pg, broken, reason):
    await ordered.handle(runtime, [record(opened(uuid4()), **broken)])
    assert letters(pg) == [("GapOpened.v1", reason)]


async def test_a_record_moved_to_another_key_does_not_open(runtime, ordered, pg):
    from dataclasses import replace

    sealed = record(opened(uuid4()))
    await ordered.handle(runtime, [replace(sealed, key=str(uuid4()).encode())])
    assert letters(pg) == [("GapOpened.v1", "Undecryptable")]


@pytest.mark.parametrize("absent", ["value", "ce_type", "ce_id"])
async def test_a_record_with_nothing_in_it_is_a_dead_letter_too(runtime, ordered, tally, pg, absent):
    """Kafka lets a header or a value be null. It must not end the process, which would meet it again and again."""
    patient = uuid4()
    found = record(opened(patient))
    headers = tuple((name, None if name == absent else value) for name, value in found.headers)
    broken = replace(found, headers=headers, value=None if absent == "value" else found.value)
    await ordered.handle(runtime, [broken, record(opened(uuid4()))])
    assert len(letters(pg)) == 1
    assert await ordered.redrive(runtime, "operator") == 0
    assert len(letters(pg)) == 1


async def test_records_without_an_id_are_not_taken_for_one_another(runtime, ordered, pg):
    found = [record(opened(uuid4())) for _ in range(2)]
    found = [replace(one, headers=tuple((n, v) for n, v in one.headers if n != "ce_id")) for one in found]
    await ordered.handle(runtime, found)
    assert len(letters(pg)) == 2


async def test_a_type_that_is_not_ours_is_skipped(runtime, ordered, pg):
    sealed = record(opened(uuid4()))
    other = tuple((n, b"GapRenamed.v9" if n == "ce_type" else v) for n, v in sealed.headers)
    from dataclasses import replace

    await ordered.handle(runtime, [replace(sealed, headers=other)])
    assert letters(pg) == []


async def test_a_run_of_dead_letters_stops_the_line(runtime, unordered, pg):
    for _ in range(STOP_THE_LINE - 1):
        await unordered.handle(runtime, [record(opened(uuid4(), "raise"))])
    with pytest.raises(LineStopped):
        await unordered.handle(runtime, [record(opened(uuid4(), "raise"))])
    assert len(letters(pg)) == STOP_THE_LINE


async def test_what_is_only_parked_or_repeated_does_not_break_a_run(runtime, ordered, pg):
    """With a bad deployment most of what comes soon waits behind what failed."""
    parked, repeat = uuid4(), record(opened(uuid4()))
    await ordered.handle(runtime, [repeat])
    await ordered.handle(runtime, [record(opened(parked, "raise"))])
    for _ in range(STOP_THE_LINE - 2):
        await ordered.handle(runtime, [record(opened(uuid4(), "raise"))])
        await ordered.handle(runtime, [record(opened(parked)), repeat])
    with pytest.raises(LineStopped):
        await ordered.handle(runtime, [record(opened(uuid4(), "raise"))])


async def test_what_was_applied_breaks_a_run(runtime, unordered, pg):
    for rule in ["raise"] * (STOP_THE_LINE - 1) + ["good"] + ["raise"] * (STOP_THE_LINE - 1):
        await unordered.handle(runtime, [record(opened(uuid4(), rule))])
    assert len(letters(pg)) == 2 * (STOP_THE_LINE - 1)


async def test_an_event_that_no_broker_takes_becomes_a_dead_letter(runtime, ordered, pg):
    soon = GapDueSoon(
        patient_id=uuid4(), gap_id=uuid4(), rule="r" * LARGEST_EVENT, rule_version="1", due=date(2026, 1, 1)
    )
    await ordered.handle(runtime, [record(soon), record(opened(uuid4()))])
    assert letters(pg) == [("GapDueSoon.v1", "TooLarge")]
    assert pg.execute("SELECT count(*) FROM tallies").fetchone() == (1,)


async def test_what_the_database_refuses_to_note_of_a_dead_letter_leaves_it_kept(runtime, ordered, pg):
    """Reading it once more must not meet the header that made it a dead letter."""
    broken = record(opened(uuid4()))
    broken = replace(broken, headers=tuple((n, v) for n, v in broken.headers if n != "ce_type"))
    tries = iter([True, False])
    plain = ordered.load

    async def load(tx: Any, ids: Any) -> Any:
        await tx.rows("SELECT 1/%b::int4", [0 if next(tries) else 1])
        return await plain(tx, ids)

    await type(ordered)(ordered.topic, ordered.decide, load, ordered.save).handle(runtime, [broken])
    assert letters(pg) == [("", "DivisionByZero")]


@pytest.mark.parametrize(
    ("rows", "oldest", "troubles", "accepting"),
    [(10, 60, {}, True), (11, 0, {}, False), (0, 60.1, {}, False), (0, 0, {"vault": "unavailable"}, False),
     (0, 0, {"line": "LineStopped"}, False), (0, 0, {"lag": "KafkaError"}, True)],
)  # fmt: skip
async def test_accepting_ends_where_the_settings_say(runtime, rows, oldest, troubles, accepting):
    runtime.settings.outbox_rows, runtime.settings.outbox_seconds = 10, 60
    runtime.relay = Relay(runtime.pg, None, "/careloop/toy")
    runtime.relay.rows, runtime.relay.oldest_seconds = rows, oldest
    runtime.troubles.update(troubles)
    assert runtime.accepting is accepting


async def test_a_lost_connection_is_waited_out_in_place(runtime, ordered, tally, pg):
    patient = uuid4()
    kills = iter([True, True, False])
    plain = ordered.load

    async def load(tx: Any, ids: Any) -> Any:
        if next(kills):
            (pid,) = await (await tx.execute("SELECT pg_backend_pid()")).fetchone()
            pg.execute("SELECT pg_terminate_backend(%s)", [pid])
            await asyncio.sleep(0.05)
        return await plain(tx, ids)

    fragile = type(ordered)(ordered.topic, ordered.decide, load, ordered.save)
    await fragile.handle(runtime, [record(opened(patient, "a"))])
    assert await tally(runtime, patient) == ("a",)
    assert runtime.troubles == {}


async def test_events_that_follow_carry_the_cause_and_a_rising_sequence(runtime, ordered, pg):
    patient = uuid4()
    soon = GapDueSoon(patient_id=patient, gap_id=uuid4(), rule="r", rule_version="1", due=date(2026, 1, 1))
    cause = record(soon)
    await ordered.handle(runtime, [cause, record(soon)])
    await ordered.handle(runtime, [record(soon)])
    rows = pg.execute("SELECT traceparent, sequence FROM outbox ORDER BY id").fetchall()
    assert rows[0][0] == dict(cause.headers)["traceparent"].decode()
    assert [s for _, s in rows] == sorted({s for _, s in rows})


@dataclass(frozen=True)
class Remind(Command):
    """What a sweep would ask of the toy: two events, of which the decider knows where the first one comes from."""


def reminded(state: Any, command: Remind, now: datetime) -> Decision[Any]:
    remembered, of_time = (opened(command.patient_id, rule) for rule in ("remembered", "of time"))
    return Decision(state, (remembered.traced(REMEMBERED), of_time))


async def test_what_time_brings_about_belongs_to_what_the_decider_remembers_or_begins_a_trace(runtime, ordered):
    timed = replace(ordered, decide={Remind: reminded})
    await timed.act(runtime, [Remind(uuid4()), Remind(uuid4())], "sweep")
    first, new, second, other = (event.trace for event in await emitted(runtime))
    assert first == second == REMEMBERED
    assert is_traceparent(new)
    assert is_traceparent(other)
    assert new != other, "one trace for each subject"


async def test_what_follows_from_a_message_belongs_to_its_trace_whatever_is_remembered(runtime, ordered):
    cause = record(opened(uuid4(), "a"))
    timed = replace(ordered, decide={GapOpened: reminded})
    await timed.handle(runtime, [cause])
    assert {event.trace for event in await emitted(runtime)} == {dict(cause.headers)["traceparent"].decode()}


async def test_what_follows_from_a_dead_letter_belongs_to_its_trace(runtime, ordered):
    bad = record(opened(uuid4(), "raise"))
    sorry = replace(ordered, decide={**ordered.decide, DeadLettered: reminded})
    await sorry.handle(runtime, [bad])
    assert {event.trace for event in await emitted(runtime)} == {dict(bad.headers)["traceparent"].decode()}


async def test_an_event_knows_its_trace_and_nobody_can_write_one_into_its_payload(runtime, ordered):
    seen = []
    sent, forged = opened(uuid4(), "a"), opened(uuid4(), "b")
    body = json.dumps(json.loads(forged.model_dump_json()) | {"trace": REMEMBERED}).encode()
    records = [record(sent), record(forged, body=body)]
    looked = replace(ordered, decide={GapOpened: lambda state, event, now: seen.append(event) or Decision(state)})
    await looked.handle(runtime, records)
    assert [event.trace for event in seen] == [dict(r.headers)["traceparent"].decode() for r in records]
    assert seen == [sent, forged]
    assert "trace" not in json.loads(seen[0].model_dump_json())


async def test_nothing_is_published_without_a_trace(runtime):
    async with runtime.transaction("writer") as tx:
        await tx.lock([patient := uuid4()])
        tx.emit(opened(patient, "a"))
    assert is_traceparent((await emitted(runtime))[0].trace)


async def test_after_shredding_nothing_opens_and_nothing_is_stored(runtime, ordered, pg):
    patient = uuid4()
    await ordered.handle(runtime, [record(opened(patient, "a"))])
    async with runtime.transaction("privacy-officer") as tx:
        await tx.shred(patient)
    (sealed,) = pg.execute("SELECT sealed FROM tallies").fetchone()
    async with runtime.transaction("reader") as tx:
        await tx.load_keys([patient])
        with pytest.raises(Undecryptable):
            tx.open(patient, "tallies.sealed", sealed)
    await ordered.handle(runtime, [record(opened(patient, "b"))])
    assert pg.execute("SELECT count(*) FROM patient_keys").fetchone() == (0,)
    assert pg.execute("SELECT seen FROM tallies").fetchone() == (1,)


async def test_nothing_readable_is_at_rest(runtime, ordered, pg):
    patient = uuid4()
    await ordered.handle(runtime, [record(opened(patient, "canary-of-the-rule")), record(opened(patient, "raise"))])
    for table in ("tallies", "dead_letters", "audit", "inbox", "outbox", "subjects"):
        for (row,) in pg.execute(f"SELECT x::text FROM {table} x").fetchall():
            assert "canary" not in row
            assert b"canary".hex() not in row
    assert isinstance(pg, psycopg.Connection)


async def rolled_back(runtime: Any, patient: UUID) -> None:
    with suppress(ZeroDivisionError):
        async with runtime.transaction("writer") as tx:
            await tx.lock([patient])
            raise ZeroDivisionError


async def test_an_error_that_was_swallowed_is_no_commit(runtime, pg):
    async def swallow() -> None:
        async with runtime.transaction("writer") as tx:
            await tx.rows("INSERT INTO inbox (event_id) VALUES (gen_random_uuid()) RETURNING 1")
            with suppress(psycopg.Error):
                await tx.rows("SELECT 1/0")

    with pytest.raises(NotCommitted):
        await swallow()
    assert pg.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


async def test_a_transaction_is_rolled_back_and_its_connection_used_again(runtime, pg):
    async with runtime.transaction("writer") as tx:
        before = await tx.rows("SELECT pg_backend_pid(), 0")
    for _ in range(30):
        await rolled_back(runtime, uuid4())
    async with runtime.transaction("writer") as tx:
        assert await tx.rows("SELECT pg_backend_pid(), count(*)::int4 FROM subjects") == before
    assert pg.execute("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'").fetchone() == (0,)


async def test_a_state_that_cannot_be_read_costs_one_patient_and_not_the_process(runtime, ordered, tally, pg):
    bad, other = uuid4(), uuid4()
    first = record(opened(bad, "a"))
    await ordered.handle(runtime, [first])
    pg.execute("UPDATE tallies SET sealed = 'x'")
    await ordered.handle(
        runtime, [first, record(opened(bad, "b")), record(opened(other, "a")), record(opened(bad, "c"))]
    )
    assert await tally(runtime, other) == ("a",)
    assert [reason for _, reason in letters(pg)] == ["Undecryptable", "Undecryptable"], (
        "what was applied before is none"
    )


async def test_who_cannot_be_read_can_be_erased(runtime, ordered, pg):
    patient, other = uuid4(), uuid4()
    cleared: list[UUID] = []

    async def clear(tx: Any, patients: Any) -> None:
        cleared.extend(patients)

    following = replace(ordered, erase=clear)
    await following.handle(runtime, [record(opened(patient, "a"))])
    pg.execute("UPDATE tallies SET sealed = 'x'")
    erased = PatientErased(patient_id=patient, basis=Basis.REQUEST)
    await following.handle(runtime, [record(opened(patient, "b")), record(erased), record(opened(other, "a"))])
    assert cleared == [patient]
    assert pg.execute("SELECT patient_id FROM patient_keys").fetchall() == [(other,)]


async def test_a_large_batch_commits_in_its_pipeline(runtime, pg):
    patients = [uuid4() for _ in range(3000)]
    async with runtime.transaction("writer") as tx:
        await tx.lock(patients)
        for patient in patients:
            tx.emit(opened(patient, "x" * 1000))
            tx.audit("test", patient, "y" * 500)
    assert pg.execute("SELECT count(*) FROM outbox").fetchone() == (3000,)
