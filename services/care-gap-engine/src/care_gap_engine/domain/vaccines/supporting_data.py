"""The CDC's official ZIP of XML supporting data, read into the compact form."""

import io
import re
import zipfile
import zlib
from datetime import date
from typing import Any
from xml.parsers import expat

from care_gap_engine.domain.vaccines.errors import ScheduleError, at

PUBLISHER = "CDC"
SOURCE = "CDC CDSi supporting data"
LICENCE = (
    "Source: CDC. Work of a US federal agency, in the public domain; use implies no endorsement. "
    "Codes of other systems in it keep their own licences."
)
TABLES = "ScheduleSupportingData"
ANTIGEN = "AntigenSupportingData"
VERSION = re.compile(r"Version (\d+(?:\.\d+)+)")
LIMIT = 64 * 2**20
LISTS = frozenset({
    "antigenSupportingData/series", "codedValues/codedValue", "conditionalSkip/set",
    "contraindication/contraindicatedVaccine", "cvxMap/association", "cvxToAntigenMap/cvxMap", "dateOfBirth/exclusion",
    "immunity/clinicalHistory", "immunity/dateOfBirth", "liveVirusConflicts/liveVirusConflict",
    "observation/codedValues", "observations/observation", "series/indication", "series/requiredGender",
    "series/seriesAdminGuidance", "series/seriesDose", "seriesDose/age", "seriesDose/allowableInterval",
    "seriesDose/allowableVaccine", "seriesDose/conditionalSkip", "seriesDose/inadvertentVaccine", "seriesDose/interval",
    "seriesDose/preferableVaccine", "set/condition", "vaccine/contraindication", "vaccineGroup/contraindication",
    "vaccineGroupMap/antigen", "vaccineGroupToAntigenMap/vaccineGroupMap", "vaccineGroups/vaccineGroup",
})  # fmt: skip
EMPTY = frozenset({"", "n/a"})
Tree = dict[str, Any]


def is_zip(content: bytes) -> bool:
    """Whether a file begins like a ZIP archive."""
    return content[:4] == b"PK\x03\x04"


def read_zip(content: bytes) -> Tree:
    """The compact form of an official ZIP; raises `ScheduleError` with the file inside it and the element."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as broken:
        raise ScheduleError(f"broken ZIP: {broken}") from None


def _read(archive: zipfile.ZipFile) -> Tree:
    entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".xml")]
    if sum(entry.file_size for entry in entries) > LIMIT:
        raise ScheduleError(f"more than {LIMIT // 2**20} MiB when unpacked")
    tables: Tree | None = None
    antigens: dict[str, Tree] = {}
    for entry in entries:
        name = entry.filename.rpartition("/")[2]
        with at(name):
            root, tree = read_xml(archive.read(entry))
            if name.startswith(TABLES) and root == "scheduleSupportingData":
                tables = tree
            elif name.startswith(ANTIGEN) and root == "antigenSupportingData":
                antigens[_disease(tree)] = tree
            else:
                raise ScheduleError(f"unexpected file, root element {root!r}")
    if tables is None:
        raise ScheduleError(f"{TABLES}.xml: missing")
    return {**_head(entries), "schedule": tables, "antigens": antigens}


def _head(entries: list[zipfile.ZipInfo]) -> Tree:
    """The version stands in the folder's name; the youngest file's date is the day of publication."""
    found = VERSION.search(entries[0].filename)
    if found is None:
        raise ScheduleError(f"{entries[0].filename}: no folder `Version <number>`")
    published = max(date(*entry.date_time[:3]) for entry in entries)
    return {
        "source": SOURCE, "publisher": PUBLISHER, "version": found[1], "published": published.isoformat(),
        "licence": LICENCE,
    }  # fmt: skip


def _disease(tree: Tree) -> str:
    series = tree.get("series")
    if not series or not isinstance(series[0], dict) or not isinstance(series[0].get("targetDisease"), str):
        raise ScheduleError("series/targetDisease: missing")
    return str(series[0]["targetDisease"])


def read_xml(content: bytes) -> tuple[str, Tree]:
    """The name of the root element, and the tree below it, without what is empty or "n/a".

    Document types are refused: nothing in these files needs entities, and entities can be made to explode.
    """
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(content, True)
    except expat.ExpatError as broken:
        raise ScheduleError(f"{'/'.join(builder.path) or 'document'}: broken XML: {broken}") from None
    return builder.root, builder.done if isinstance(builder.done, dict) else {}


class _Builder:
    """Collects elements into dicts, and into lists where the schema says that they may repeat."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.open: list[Tree] = []
        self.words: list[str] = []
        self.root = ""
        self.done: Tree | str | None = None

    def refuse(self, *_: object) -> None:
        raise ScheduleError("a document type declaration")

    def start(self, name: str, _: dict[str, str]) -> None:
        self.root = self.root or name
        self.path.append(name)
        self.open.append({})
        self.words.clear()

    def text(self, words: str) -> None:
        self.words.append(words)

    def end(self, name: str) -> None:
        self.path.pop()
        tree = self.open.pop()
        value: Tree | str = tree or "".join(self.words).strip()
        self.words.clear()
        if not self.path:
            self.done = value
        elif isinstance(value, dict) or value.lower() not in EMPTY:
            self._add(self.open[-1], self.path[-1], name, value)

    def _add(self, parent: Tree, above: str, name: str, value: Tree | str) -> None:
        if f"{above}/{name}" in LISTS:
            parent.setdefault(name, []).append(value)
        elif name in parent:
            raise ScheduleError(f"{'/'.join(self.path)}/{name}: given twice")
        else:
            parent[name] = value
