"""HL7 v2 over MLLP and TLS: frames in, acknowledgements out, in order; AA means durable."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ingest_fhir.desk import Desk
from ingest_fhir.domain import Answer, KeyReused, Rejected, Submission
from ingest_fhir.hl7v2 import (
    Heard,
    Interface,
    Invalid,
    Problem,
    acknowledge,
    acknowledge_batch,
    addressed,
    is_batch,
    opened,
    understand,
)
from phi_common.clock import Now
from phi_common.db import TooLarge
from phi_common.eventing.accept import Unavailable
from phi_common.telemetry import log, new_traceparent
from phi_common.transaction import Erased

START, END, CR = b"\x0b", b"\x1c", b"\r"
HEAD = 4096
CHUNK = 65_536

Respond = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True)
class Limits:
    """What one connection may cost."""

    frame: int = 16 * 1024 * 1024
    idle_seconds: float = 300.0
    connections: int = 256


class TooLong(Exception):
    """A frame passed the limit; carries its first bytes, so that the answer can name the message."""

    def __init__(self, head: bytes) -> None:
        super().__init__("frame is too long")
        self.head = head


async def frames(reader: asyncio.StreamReader, limits: Limits) -> AsyncIterator[bytes]:
    """Whole messages in order. What precedes a start block, or was broken off by one, is no message."""
    held = bytearray()
    while True:
        scanned = 0
        while (end := held.find(END, scanned)) < 0:
            scanned = len(held)
            if scanned > limits.frame:
                raise TooLong(bytes(held[: HEAD + 1]).partition(START)[2])
            async with asyncio.timeout(limits.idle_seconds):
                chunk = await reader.read(CHUNK)
            if not chunk:
                return
            held += chunk
            if START not in held:
                held.clear()
                scanned = 0
        start = held.rfind(START, 0, end)
        frame = bytes(held[start + 1 : end])
        del held[: end + 1]
        if start < 0:
            continue
        if len(frame) > limits.frame:
            raise TooLong(frame[:HEAD])
        yield frame


async def converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    respond: Respond,
    too_long: Respond,
    limits: Limits,
) -> None:
    """One connection, until the sender leaves, is silent for too long, or sends what cannot be held."""
    try:
        async for frame in frames(reader, limits):
            await _send(writer, await respond(frame), limits)
    except TooLong as long:
        await _send(writer, await too_long(long.head), limits)
    except (TimeoutError, ConnectionError, ssl.SSLError):
        log.info("mllp-connection-lost")
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, message: bytes, limits: Limits) -> None:
    writer.write(START + message + END + CR)
    async with asyncio.timeout(limits.idle_seconds):
        await writer.drain()


@asynccontextmanager
async def listening(
    host: str, port: int, tls: ssl.SSLContext | None, respond: Respond, too_long: Respond, limits: Limits
) -> AsyncIterator[asyncio.Server]:
    """Serve until left; then no new connections, and each message in hand gets its answer."""
    open_now: set[asyncio.Task[None]] = set()
    busy: set[asyncio.Task[None]] = set()

    async def marked(frame: bytes) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            return await respond(frame)
        finally:
            busy.discard(task)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(open_now) >= limits.connections:
            writer.close()
            return
        open_now.add(task)
        try:
            await converse(reader, writer, marked, too_long, limits)
        except asyncio.CancelledError:
            writer.close()
        finally:
            open_now.discard(task)

    server = await asyncio.start_server(connected, host, port, ssl=tls)
    try:
        yield server
    finally:
        server.close()
        await _leave(busy, open_now)


async def _leave(busy: set[asyncio.Task[None]], open_now: set[asyncio.Task[None]]) -> None:
    """Half a second for messages in hand, then the connections end."""
    if busy:
        await asyncio.wait(set(busy), timeout=0.5)
    leftover = set(open_now)
    for task in leftover:
        task.cancel()
    if leftover:
        await asyncio.wait(leftover, timeout=1)


class Receiver:
    """What a frame is answered with."""

    def __init__(self, desk: Desk, interface: Interface, now: Now) -> None:
        self._desk = desk
        self._interface = interface
        self._now = now

    async def respond(self, frame: bytes) -> bytes:
        """The answer to a frame, which holds a message or a batch of them. Never raises."""
        if is_batch(frame):
            return await self._batch(frame)
        return await self._answer(understand(frame, self._interface), frame)

    async def _batch(self, frame: bytes) -> bytes:
        """A batch of answers: each message is taken or refused by itself, once the envelope as a whole holds."""
        try:
            envelope = opened(frame)
        except Invalid as invalid:
            return await self._answer(Heard(addressed(frame), "hl7v2", problem=invalid.problem), frame)
        messages = [message for batch in envelope.batches for message in batch.messages]
        heard = [understand(message, self._interface) for message in messages]
        # handed in together, and in order, so that they share commits
        answers = await asyncio.gather(*map(self._answer, heard, messages))
        return acknowledge_batch(envelope, answers, self._now())

    async def _answer(self, heard: Heard, frame: bytes) -> bytes:
        """AA after the commit, the same AA for a repeat, AE or AR with the reason otherwise. Never raises."""
        try:
            if heard.problem is not None:
                await self._desk.keep(self._rejected(heard, frame, heard.problem))
                return acknowledge(heard.header, self._now(), heard.problem)
            return (await self._desk.submit(self._submission(heard, frame))).body
        except Exception as error:
            if not isinstance(error, (KeyReused, Erased, TooLarge, Unavailable)):
                log.error("mllp-message-failed", error=error)
            return acknowledge(heard.header, self._now(), _problem_of(error))

    async def too_long(self, head: bytes) -> bytes:
        """The answer to a message of which only the beginning was read."""
        header = understand(head, self._interface).header
        return acknowledge(
            header, self._now(), Problem("207", "message is longer than this interface takes", reject=True)
        )

    def _submission(self, heard: Heard, frame: bytes) -> Submission:
        assert heard.report is not None
        header, digest = heard.header, hashlib.sha256(frame).digest()
        name = header.control_id or digest.hex()
        return Submission(
            reports=(heard.report,),
            by=f"mllp:{heard.source}",
            action="mllp:write",
            answer=lambda _: Answer(200, acknowledge(header, self._now())),
            request_hash=digest,
            key=self._desk.intake.key("mllp", f"{header.application}|{header.facility}|{name}"),
            traceparent=new_traceparent(),
        )

    @staticmethod
    def _rejected(heard: Heard, frame: bytes, problem: Problem) -> Rejected:
        return Rejected("hl7v2", heard.source, frame, f"{problem.code} {problem}")


def _problem_of(error: Exception) -> Problem:
    """What a sender may know of a failure."""
    if isinstance(error, KeyReused):
        return Problem("205", "control id was used for another message", "MSH", 10)
    if isinstance(error, Erased):
        return Problem("204", "the record of this patient was erased", "PID", 3)
    if isinstance(error, TooLarge):
        return Problem("207", "one value is longer than can be passed on", reject=True)
    if isinstance(error, Unavailable):
        return Problem("207", "cannot be stored just now, send it again")
    return Problem("207", "cannot be stored")
