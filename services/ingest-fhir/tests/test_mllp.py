"""Framing over a real socket; what stands behind it is a function."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from ingest_fhir.desk import Desk
from ingest_fhir.domain import Answer, KeyReused, Rejected, Submission
from ingest_fhir.hl7v2 import Interface
from ingest_fhir.mllp import Limits, Receiver, listening
from phi_common.eventing.accept import Unavailable
from phi_common.events.patients import PatientReported
from phi_common.runtime import Runtime
from phi_common.testing import emitted

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def adt(control_id: str, pid: str = "PID|1||42^^^N||Roe") -> bytes:
    return f"MSH|^~\\&|EHR|NORTH|||20260302||ADT^A08|{control_id}|P|2.5.1\r{pid}\r".encode()


class Names:
    """Keys in clear."""

    @staticmethod
    def key(scope: str, name: str) -> str:
        return f"{scope}:{name}"


class FakeDesk:
    """Remembers what it was handed; fails with `error` when told to."""

    intake = Names()

    def __init__(self) -> None:
        self.taken: list[Submission] = []
        self.kept: list[Rejected] = []
        self.error: Exception | None = None

    async def submit(self, submission: Submission) -> Answer:
        await asyncio.sleep(0.01 if not self.taken else 0)
        if self.error:
            raise self.error
        self.taken.append(submission)
        return submission.answer([])

    async def keep(self, rejected: Rejected) -> None:
        if self.error:
            raise self.error
        self.kept.append(rejected)


class Sender:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> list[str]:
        """MSA and ERR of the next acknowledgement."""
        async with asyncio.timeout(5):
            frame = await self.reader.readuntil(b"\x1c\r")
        assert frame[:1] == b"\x0b"
        return [line for line in frame[1:-2].decode().split("\r") if line[:3] in ("MSA", "ERR")]

    async def closed(self) -> bool:
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def connect(desk: FakeDesk) -> Callable[..., object]:
    @asynccontextmanager
    async def connection(limits: Limits = Limits()) -> AsyncIterator[Sender]:  # noqa: B008
        receiver = Receiver(desk, Interface(), lambda: NOW)  # type: ignore[arg-type]
        async with listening("127.0.0.1", 0, None, receiver.respond, receiver.too_long, limits) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            yield Sender(reader, writer)
            writer.close()

    return connection


async def test_a_message_is_answered(connect, desk):
    async with connect() as sender:
        sender.send(b"\x0b" + adt("c1") + b"\x1c\r")
        assert await sender.answer() == ["MSA|AA|c1"]
    assert desk.taken[0].key == "mllp:EHR|NORTH|c1"
    assert desk.taken[0].reports[0].raw == adt("c1")


async def test_pipelined_messages_are_answered_in_order(connect):
    async with connect() as sender:
        sender.send(b"".join(b"\x0b" + adt(f"c{n}") + b"\x1c\r" for n in range(20)))
        assert [await sender.answer() for _ in range(20)] == [[f"MSA|AA|c{n}"] for n in range(20)]


async def test_a_message_may_come_in_pieces_and_after_garbage(connect):
    async with connect() as sender:
        for byte in b"\r\nnoise\x0b" + adt("c1") + b"\x1c":
            sender.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await sender.answer() == ["MSA|AA|c1"]
        sender.send(b"\r\x0bMSH|broken off\x0b" + adt("c2") + b"\x1c\r")
        assert await sender.answer() == ["MSA|AA|c2"]
        sender.send(adt("no start") + b"\x1c\r\x0b" + adt("c3") + b"\x1c\r")
        assert await sender.answer() == ["MSA|AA|c3"]


async def test_a_message_without_patient_is_refused_and_kept(connect, desk):
    async with connect() as sender:
        sender.send(b"\x0b" + adt("c1", "PV1|1") + b"\x1c\r")
        msa, err = await sender.answer()
    assert msa == "MSA|AE|c1"
    assert err.startswith("ERR||PID^1|100^Segment sequence error^HL70357|E|")
    assert desk.kept[0].raw == adt("c1", "PV1|1")
    assert desk.taken == []


async def test_wrong_bytes_are_refused_without_being_quoted(connect):
    async with connect() as sender:
        sender.send(b"\x0b" + adt("c1", "PID|1||42^^^N||Secret").replace(b"Secret", b"Secret\xff") + b"\x1c\r")
        msa, err = await sender.answer()
    assert msa == "MSA|AE|c1"
    assert "MSH^1^18" in err
    assert "Secret" not in err


async def test_an_oversized_message_is_refused_and_the_connection_closed(connect, desk):
    async with connect(Limits(frame=1000)) as sender:
        sender.send(b"\x0b" + adt("c1") + b"x" * 100_000)
        assert (await sender.answer())[0] == "MSA|AR|c1"
        assert await sender.closed()
    assert desk.taken == []


async def test_a_frame_that_never_ends_is_given_up(connect):
    async with connect(Limits(idle_seconds=0.05)) as sender:
        sender.send(b"\x0b" + adt("c1"))
        assert await sender.closed()


async def test_too_many_connections_are_turned_away(connect):
    async with connect(Limits(connections=1)) as sender:
        sender.send(b"\x0b" + adt("c1") + b"\x1c\r")
        await sender.answer()
        reader, writer = await asyncio.open_connection(*sender.writer.get_extra_info("peername"))
        assert await Sender(reader, writer).closed()
        writer.close()


@pytest.mark.parametrize(("error", "code"), [(Unavailable(), "207"), (KeyReused(), "205"), (ValueError("Roe"), "207")])
async def test_what_was_not_stored_is_never_acknowledged(connect, desk, error, code):
    desk.error = error
    async with connect() as sender:
        for data in (adt("c1"), adt("c1", "PV1|1")):
            sender.send(b"\x0b" + data + b"\x1c\r")
            msa, err = await sender.answer()
            assert msa == "MSA|AE|c1"
            assert f"|{code}^" in err
            assert "Roe" not in err


async def test_a_repeat_gets_the_stored_acknowledgement(runtime: Runtime):
    receiver = Receiver(Desk(runtime), Interface(), runtime.now)
    first = await receiver.respond(adt("c1"))
    assert b"MSA|AA|c1" in first
    assert await receiver.respond(adt("c1")) == first
    other = await receiver.respond(adt("c1", "PID|1||42^^^N||Doe"))
    assert b"MSA|AE|c1" in other
    assert b"ERR||MSH^1^10|205^" in other
    assert len(await emitted(runtime, PatientReported)) == 1


async def test_without_a_control_id_the_content_is_the_name(runtime: Runtime):
    receiver = Receiver(Desk(runtime), Interface(), runtime.now)
    answers = [await receiver.respond(adt("", pid)) for pid in ("PID|1||1^^^N", "PID|1||1^^^N", "PID|1||2^^^N")]
    assert answers[0] == answers[1] != answers[2]
    assert len(await emitted(runtime, PatientReported)) == 2
