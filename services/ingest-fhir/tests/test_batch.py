"""Batches of HL7 v2: split and counted, each message by itself, answered in an envelope like their own."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_fhir.desk import Desk
from ingest_fhir.hl7v2 import Header, Interface, Invalid, acknowledge_batch, addressed, is_batch, opened
from ingest_fhir.hl7v2.batch import MOST
from ingest_fhir.mllp import Receiver
from phi_common.events.patients import PatientReported
from phi_common.runtime import Runtime
from phi_common.testing import emitted

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
FHS = "FHS|^~\\&|EHR|NORTH|||20260302||||f1"
BHS = "BHS|^~\\&|EHR|NORTH|||20260302||||b1"


def msh(control_id: str) -> str:
    return f"MSH|^~\\&|EHR|NORTH|||20260302||ADT^A08|{control_id}|P|2.5.1"


def pid(value: str) -> str:
    return f"PID|1||{value}^^^N||Roe"


def frame(*lines: str, end: str = "\r") -> bytes:
    return (end.join(lines) + end).encode()


ALONE = (msh("c1"), pid("42"))
PAIR = (*ALONE, msh("c2"), pid("43"))


def held(data: bytes) -> list[list[bytes]]:
    assert is_batch(data)
    return [batch.messages for batch in opened(data).batches]


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (frame(FHS, BHS, *PAIR, "BTS|2", "FTS|1"), [2]),
        (frame(BHS, *PAIR, "BTS|2"), [2]),
        (frame(BHS, *PAIR, "BTS"), [2]),
        (frame(BHS, *PAIR), [2]),
        (frame(FHS, *PAIR, "FTS|1"), [2]),
        (frame(FHS, *ALONE, "BTS|1", "FTS|1"), [1]),
        (frame(BHS, *ALONE, "BTS|01|comment", "FTS|1"), [1]),
        (frame(FHS, BHS, *ALONE, "BTS|1", BHS, *PAIR, "BTS|2", "FTS|2"), [1, 2]),
        (frame(FHS, BHS, *ALONE, BHS, *PAIR, "FTS"), [1, 2]),
        (frame(BHS, "BTS|0"), [0]),
        (b"\xef\xbb\xbf\r\n" + frame(BHS, *PAIR, "BTS|2", end="\r\n"), [2]),
    ],
)
def test_a_batch_is_split_into_its_messages(data: bytes, messages: list[int]):
    assert [len(each) for each in held(data)] == messages


def test_a_message_has_the_bytes_that_it_has_alone():
    assert held(frame(BHS, *PAIR, "BTS|2")) == [[frame(*ALONE), frame(msh("c2"), pid("43"))]]


@pytest.mark.parametrize(
    ("data", "where", "code"),
    [
        (frame(BHS, *PAIR, "BTS|3"), "BTS-1", "100"),
        (frame(BHS, *PAIR, "BTS|" + "9" * 5000), "BTS-1", "100"),
        (frame(BHS, *PAIR, "BTS|two"), "BTS-1", "100"),
        (frame(FHS, BHS, *PAIR, "BTS|2", "FTS|2"), "FTS-1", "100"),
        (frame(FHS, BHS, *ALONE, FHS, "BTS|1"), "FHS", "100"),
        (frame(BHS, *ALONE, "BTS|1", "BTS|1"), "BTS", "100"),
        (frame(FHS, "FTS|0", *ALONE), "FTS", "100"),
        (frame(BHS, pid("42"), *ALONE), "BHS", "100"),
        (frame(BHS, *ALONE, "BTS|1", pid("43")), "BTS", "100"),
        (frame(BHS, *[msh("c")] * (MOST + 1)), "more than", "207"),
    ],
)
def test_an_envelope_that_does_not_hold_is_refused_as_a_whole(data: bytes, where: str, code: str):
    with pytest.raises(Invalid) as caught:
        opened(data)
    assert str(caught.value).startswith(where)
    assert caught.value.problem.code == code
    assert addressed(data).facility == "NORTH"


def test_a_single_message_is_no_batch():
    assert not is_batch(frame(*ALONE))
    assert not is_batch(b"BHSx")
    assert not is_batch(b"")


@given(st.binary(max_size=60), st.integers(0, 120))
def test_no_bytes_raise_anything_else(noise: bytes, at: int):
    whole = frame(FHS, BHS, *ALONE, "BTS|1", "FTS|1")
    data = b"BHS|" + noise + whole[:at] + noise + whole[at:]
    assert isinstance(addressed(data), Header)
    try:
        envelope = opened(data)
    except Invalid:
        return
    answers = [b"ack"] * sum(len(batch.messages) for batch in envelope.batches)
    assert acknowledge_batch(envelope, answers, NOW).count(b"ack") >= len(answers)


def shape(answer: bytes) -> list[str]:
    """The answer by what a sender looks at."""
    lines = [line.split("|") for line in answer.decode().split("\r") if line]
    wanted = {"FHS": (4, 5, 11), "BHS": (4, 5, 11), "MSA": (1, 2), "BTS": (1,), "FTS": (1,), "ERR": (2,)}
    return ["|".join([line[0], *(line[at] for at in wanted[line[0]])]) for line in lines if line[0] in wanted]


async def kept(runtime: Runtime) -> list[str | None]:
    """The problem's code of every message that is on record."""
    async with runtime.transaction("test") as tx:
        rows = await tx.execute("SELECT left(problem, 3) FROM raw_messages ORDER BY 1 NULLS FIRST")
        return [code for (code,) in await rows.fetchall()]


@pytest.fixture
def receiver(runtime: Runtime) -> Receiver:
    return Receiver(Desk(runtime), Interface(), runtime.now)


async def test_each_message_is_taken_or_refused_by_itself(receiver: Receiver, runtime: Runtime):
    data = frame(FHS, BHS, *ALONE, msh("c2"), "PV1|1", "BTS|2", BHS, msh("c3"), pid("44"), "BTS|1", "FTS|2")
    answer = await receiver.respond(data)
    assert shape(answer) == [
        "FHS|EHR|NORTH|f1",
        "BHS|EHR|NORTH|b1", "MSA|AA|c1", "MSA|AE|c2", "ERR|PID^1", "BTS|2",
        "BHS|EHR|NORTH|b1", "MSA|AA|c3", "BTS|1",
        "FTS|2",
    ]  # fmt: skip
    assert [event.family for event in await emitted(runtime, PatientReported)] == ["Roe", "Roe"]
    assert await kept(runtime) == [None, None, "100"]


async def test_a_batch_again_or_a_message_of_it_alone_has_no_second_effect(receiver: Receiver, runtime: Runtime):
    data = frame(BHS, *PAIR, "BTS|2")
    first, again = [shape(await receiver.respond(data)) for _ in range(2)]
    assert first == again == ["BHS|EHR|NORTH|b1", "MSA|AA|c1", "MSA|AA|c2", "BTS|2"]
    assert b"MSA|AA|c1" in await receiver.respond(frame(*ALONE))
    assert len(await emitted(runtime, PatientReported)) == 2


async def test_of_a_batch_cut_short_nothing_is_taken(receiver: Receiver, runtime: Runtime):
    answer = await receiver.respond(frame(BHS, *PAIR, "BTS|3"))
    assert shape(answer) == ["MSA|AE|b1", "ERR|BTS^1^1"]
    assert await emitted(runtime) == []
    assert await kept(runtime) == ["100"]


async def test_messages_about_one_person_keep_their_order(receiver: Receiver, runtime: Runtime):
    names = [f"Roe{n}" for n in range(60)]
    lines = [line for name in names for line in (msh(name), f"PID|1||42^^^N||{name}")]
    await receiver.respond(frame(BHS, *lines, "BTS|60"))
    assert [event.family for event in await emitted(runtime, PatientReported)] == names
