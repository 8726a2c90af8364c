"""The batch protocol of HL7 v2 (2.10.3): `[FHS] { [BHS] { messages } [BTS] } [FTS]`, split by bytes, counts checked.

Each message keeps its own bytes, as if it had come alone. The envelope says nothing about anybody and is not kept.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ingest_fhir.hl7v2.ack import escaped
from ingest_fhir.hl7v2.reader import Delimiters, Header, Invalid, Problem, Segment
from phi_common.clock import new_id

MOST = 5_000
MARK = re.compile(
    rb"(?:\A|(?<=[\r\n]))[ \t]*(?:(FHS|BHS|MSH)(?=[^0-9A-Za-z\s])|(BTS|FTS)(?=[^0-9A-Za-z\s]|[\r\n]|\Z))",
)
BLANK = b"\x0b\x1c\r\n \t"


@dataclass
class Batch:
    """Messages in their order; without a header when the sender gave none."""

    header: Header | None = None
    messages: list[bytes] = field(default_factory=list)
    ended: bool = False


@dataclass
class Envelope:
    """What one frame held: a file of batches, or batches alone."""

    file: Header | None = None
    batches: list[Batch] = field(default_factory=list)
    ended: bool = False

    @property
    def header(self) -> Header:
        """Whom to answer."""
        return self.file or next((batch.header for batch in self.batches if batch.header), None) or Header()


def is_batch(frame: bytes) -> bool:
    """Whether the frame begins with a batch or file header."""
    first = MARK.match(bare(frame))
    return first is not None and first[1] in (b"FHS", b"BHS")


def bare(frame: bytes) -> bytes:
    """The frame without what surrounds it."""
    return frame.strip(BLANK).removeprefix(b"\xef\xbb\xbf").strip(BLANK)


def opened(frame: bytes) -> Envelope:
    """The messages in a frame. Raises Invalid, before any of them is looked at, when the envelope does not hold."""
    envelope, messages = Envelope(), 0
    for name, text in _parts(bare(frame)):
        if envelope.ended:
            raise Invalid(Problem("100", "nothing may follow the end of a file", "FTS"))
        messages += name == "MSH"
        if messages > MOST:
            raise Invalid(Problem("207", f"more than {MOST} messages in one frame", reject=True))
        _STEPS[name](envelope, text)
    return envelope


def addressed(frame: bytes) -> Header:
    """The outermost header alone, to answer an envelope that does not hold."""
    return _header(re.split(rb"[\r\n]", bare(frame), maxsplit=1)[0])


def acknowledge_batch(envelope: Envelope, answers: Sequence[bytes], now: datetime) -> bytes:
    """The acknowledgements of all messages, in their order, in an envelope like the one they came in."""
    given = iter(answers)
    parts = [_answered("FHS", envelope.file, now)] if envelope.file else []
    for batch in envelope.batches:
        acks = [next(given) for _ in batch.messages]
        if batch.header:
            acks = [_answered("BHS", batch.header, now), *acks, f"BTS|{len(acks)}\r".encode()]
        parts += acks
    return b"".join(parts + ([f"FTS|{len(envelope.batches)}\r".encode()] if envelope.file else []))


def _parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    marks = list(MARK.finditer(data))
    for at, mark in enumerate(marks):
        end = marks[at + 1].start() if at + 1 < len(marks) else len(data)
        yield (mark[1] or mark[2]).decode(), data[mark.start() : end].lstrip(b" \t")


def _file(envelope: Envelope, text: bytes) -> None:
    if envelope.file or envelope.batches:
        raise Invalid(Problem("100", "a file may not begin inside another", "FHS"))
    envelope.file = _header(text)


def _batch(envelope: Envelope, text: bytes) -> None:
    envelope.batches.append(Batch(_header(text)))


def _message(envelope: Envelope, text: bytes) -> None:
    if not envelope.batches or envelope.batches[-1].ended:
        envelope.batches.append(Batch())
    envelope.batches[-1].messages.append(text)


def _batch_end(envelope: Envelope, text: bytes) -> None:
    if not envelope.batches or envelope.batches[-1].ended:
        raise Invalid(Problem("100", "there is no batch that could end here", "BTS"))
    _counted(_segment(text), len(envelope.batches[-1].messages), "messages")
    envelope.batches[-1].ended = True


def _file_end(envelope: Envelope, text: bytes) -> None:
    _counted(_segment(text), len(envelope.batches), "batches")
    envelope.ended = True


_STEPS = {"FHS": _file, "BHS": _batch, "MSH": _message, "BTS": _batch_end, "FTS": _file_end}


def _counted(trailer: Segment, there: int, what: str) -> None:
    """A count that is not right tells of a batch cut short; an absent one tells nothing."""
    said = trailer.raw(1)
    if said and said.lstrip("0") != str(there).lstrip("0"):
        raise trailer.problem(1, "100", f"not so many {what} are there")


def _segment(text: bytes) -> Segment:
    line = text.strip().decode("utf-8", "replace")
    if len(re.split(r"[\r\n]+", line)) > 1:
        raise Invalid(Problem("100", "only messages may stand in a batch", line[:3]))
    separator = line[3:4] or "|"
    fields = line.split(separator)
    if fields[0] in ("FHS", "BHS"):
        fields.insert(1, separator)
    return Segment(fields[0], fields, 1, Delimiters.of(separator, fields[2] if len(fields) > 2 else ""))


def _header(text: bytes) -> Header:
    segment = _segment(text)
    return Header(segment.value(3) or "", segment.value(4) or "", control_id=segment.value(11) or "")


def _answered(name: str, header: Header, now: datetime) -> bytes:
    to = f"{escaped(header.application)}|{escaped(header.facility)}"
    ids = f"{new_id().hex[-20:]}|{escaped(header.control_id)}"
    return f"{name}|^~\\&|CARELOOP||{to}|{now:%Y%m%d%H%M%S}+0000||||{ids}\r".encode()
