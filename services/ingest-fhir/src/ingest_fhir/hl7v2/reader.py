"""From bytes to segments: character sets, line ends, delimiters, escapes. No value is judged here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

CHARSETS = {
    "": "",
    "ASCII": "ascii",
    "UTF-8": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-16",
    "UNICODE UTF-16": "utf-16",
    "ISO IR6": "ascii",
    "ISO IR100": "iso-8859-1",
    "ISO IR192": "utf-8",
    **{f"8859/{part}": f"iso-8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
}
STANDARD = "^~\\&"
DELETE = '""'
HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a message was not taken, in words that hold no patient data. `code` is from HL7 table 0357."""

    code: str
    text: str
    segment: str = ""
    field: int = 0
    sequence: int = 1
    reject: bool = False
    """AR: sending it again, even corrected in content, would not help. Otherwise AE."""

    def __str__(self) -> str:
        where = f"{self.segment}-{self.field}" if self.field else self.segment
        return f"{where}: {self.text}" if where else self.text


class Invalid(Exception):
    """Carries a problem out of the depths of a message."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2. An empty text stands for a delimiter that this message does not have."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @classmethod
    def of(cls, field: str, encoding: str) -> "Delimiters":
        """Read two to five characters, a doubled backslash and a truncation character included."""
        given = list(dict.fromkeys(encoding.replace("\\\\", "\\")))[:4]
        for standard in STANDARD[len(given) :]:
            given.append("" if standard in given or standard == field else standard)
        return cls(field, *given)

    def plain(self, text: str) -> str:
        """The text with its escape sequences resolved; highlighting is dropped, an unknown sequence stays."""
        if not self.escape or self.escape not in text:
            return text
        parts = text.split(self.escape)
        out, i = [parts[0]], 1
        while i < len(parts):
            known = self._sequence(parts[i]) if i + 1 < len(parts) else None
            if known is None:
                out.append(self.escape + parts[i])
                i += 1
            else:
                out += (known, parts[i + 1])
                i += 2
        return "".join(out)

    def _sequence(self, name: str) -> str | None:
        simple = {
            "F": self.field,
            "S": self.component,
            "R": self.repetition,
            "E": self.escape,
            "T": self.subcomponent,
        }
        if name in simple:
            return simple[name]
        if name in ("H", "N"):
            return ""
        if name in (".br", ".sp"):
            return "\n"
        if found := HEX.fullmatch(name):
            code = bytes.fromhex(found[1])
            try:
                return code.decode()
            except UnicodeDecodeError:
                return code.decode("iso-8859-1")
        return None


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment, read by position; fields count from 1 as in the standard, MSH too."""

    name: str
    fields: list[str]
    sequence: int
    delimiters: Delimiters

    def raw(self, field: int) -> str:
        """The field as sent, without surrounding blanks; empty when absent."""
        return self.fields[field].strip() if field < len(self.fields) else ""

    def repetitions(self, field: int) -> list[str]:
        """The repetitions of a field that hold anything."""
        raw, mark = self.raw(field), self.delimiters.repetition
        return [part for part in (raw.split(mark) if mark else [raw]) if part]

    def components(self, text: str) -> list[str]:
        """The components of one repetition, escapes not yet resolved."""
        return text.split(self.delimiters.component) if self.delimiters.component else [text]

    def part(self, text: str, component: int = 1, subcomponent: int = 1) -> str:
        """One component's one subcomponent as plain text; empty when absent or deleted."""
        found = self.components(text)
        if component > len(found):
            return ""
        mark = self.delimiters.subcomponent
        below = found[component - 1].split(mark) if mark else [found[component - 1]]
        if subcomponent > len(below) or below[subcomponent - 1].strip() == DELETE:
            return ""
        return self.delimiters.plain(below[subcomponent - 1]).strip()

    def value(self, field: int, component: int = 1) -> str | None:
        """The first repetition's component: `None` absent, empty text deleted (`""`), else plain text."""
        raw = self.raw(field)
        if raw == DELETE:
            return ""
        first = next(iter(self.repetitions(field)), "")
        text = self.part(first, component)
        if text:
            return text
        sent = self.components(first)
        return "" if component <= len(sent) and sent[component - 1].strip() == DELETE else None

    def problem(self, field: int, code: str, text: str, *, reject: bool = False) -> Invalid:
        """A problem with one field of this segment."""
        return Invalid(Problem(code, text, self.name, field, self.sequence, reject))


@dataclass(frozen=True, slots=True)
class Header:
    """What MSH says, as far as an answer needs it."""

    application: str = ""
    facility: str = ""
    type: str = ""
    trigger: str = ""
    control_id: str = ""
    processing: str = "P"
    version: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message as segments in their order."""

    header: Header
    segments: list[Segment]

    def all(self, name: str) -> Iterator[Segment]:
        """Every segment of that name."""
        return (segment for segment in self.segments if segment.name == name)


def decoded(data: bytes, default: str) -> str:
    """Text of the bytes: UTF-8 wherever they are that, else what MSH-18 declares, else the default."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _decode(data, "utf-16", "the bytes after a UTF-16 mark are not UTF-16")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode()
    except UnicodeDecodeError:
        head = re.split(rb"[\r\n]", data, maxsplit=1)[0].decode("iso-8859-1")
        declared = head.split(head[3])[17:18] if len(head) > 3 else []
        name = re.split(r"[~^]", declared[0])[0].strip().upper() if declared else ""
        if name not in CHARSETS:
            raise Invalid(
                Problem("103", "character set is not known, and the bytes are not UTF-8", "MSH", 18)
            ) from None
        return _decode(data, CHARSETS[name] or default, "bytes do not fit the character set")


def _decode(data: bytes, charset: str, text: str) -> str:
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        raise Invalid(Problem("102", text, "MSH", 18)) from None


def lines_of(text: str) -> list[str]:
    """Segments as text, whatever the line ends; a line that is no segment continues the one before it."""
    lines: list[str] = []
    start = re.compile(r"[A-Z][A-Z0-9]{2}(?:" + re.escape(text[3:4]) + "|$)")
    for line in re.split(r"[\r\n]+", text):
        line = line.lstrip()
        if not line:
            continue
        if lines and not start.match(line):
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    return lines


def read(data: bytes, default_charset: str = "utf-8") -> Message:
    """The message in these bytes. Raises Invalid when there is no usable header."""
    text = decoded(data.strip(b"\x0b\x1c\r\n \t"), default_charset).strip("\ufeff\x0b\x1c\r\n \t")
    if text[:3] in ("FHS", "BHS"):
        raise Invalid(Problem("207", "batches are taken in ASCII, ISO 8859 and UTF-8 only", text[:3], reject=True))
    if text[:3] != "MSH" or len(text) < 8:
        raise Invalid(Problem("100", "message does not begin with an MSH segment", "MSH", reject=True))
    separator = text[3]
    if separator.isalnum() or separator.isspace():
        raise Invalid(Problem("102", "field separator is not usable", "MSH", 1, reject=True))
    lines = lines_of(text)
    delimiters = Delimiters.of(separator, lines[0][4:].split(separator, 1)[0])
    seen: dict[str, int] = {}
    segments = []
    for line in lines:
        fields = line.split(separator)
        name = fields[0].strip()
        seen[name] = seen.get(name, 0) + 1
        if name == "MSH":
            fields.insert(1, separator)
        segments.append(Segment(name, fields, seen[name], delimiters))
    return Message(header_of(segments[0]), segments)


def header_of(msh: Segment) -> Header:
    """MSH as values."""
    return Header(
        application=msh.value(3) or "",
        facility=msh.value(4) or "",
        type=(msh.value(9) or "").upper(),
        trigger=(msh.value(9, 2) or "").upper(),
        control_id=msh.value(10) or "",
        processing=msh.value(11) or "P",
        version=msh.value(12) or "",
    )
