"""Schedules as files: what ships loads, both official forms say the same, and anything broken is refused whole."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from care_gap_engine import schedules
from care_gap_engine.domain.vaccines import form, form_tables, supporting_data
from care_gap_engine.domain.vaccines.errors import ScheduleError
from care_gap_engine.domain.vaccines.schedule import load_schedule

OFFICIAL = Path(__file__).parents[4] / "shared" / "immunization"
DEMO = (files("care_gap_engine.schedules") / "demo.json").read_bytes()
ENTRY = "Version 1.0 - 508/XML/{}.xml"


def test_what_ships_names_its_publisher_and_terms() -> None:
    demo = schedules.demo()
    said = demo.publication
    assert (said.publisher, said.version) == ("CareLoop (made up, not medical advice)", "1")
    assert said.effective_from.isoformat() == "2025-09-01"
    assert said.effective_until is not None
    assert "invented" in said.licence
    assert [group.name for group in demo.groups] == ["Alpha", "Beta/Gamma", "Delta"]


def series(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = tree["antigens"]["Alpha"]["series"][0]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.pop("antigens"), "antigens: missing"),
        (lambda tree: tree.pop("version"), "head: Object missing required field `version`"),
        (lambda tree: tree["antigens"].pop("Gamma"), "antigens.Gamma: missing, but a vaccine group names it"),
        (lambda tree: tree["schedule"].pop("cvxToAntigenMap"), "schedule: Object missing required field"),
        (lambda tree: series(tree).pop("seriesDose"), "antigens.Alpha: Object missing required field `seriesDose`"),
        (lambda tree: series(tree).update(unheardOf="x"), "antigens.Alpha: Object contains unknown field `unheardOf`"),
        (lambda tree: series(tree)["seriesDose"].pop(1), "seriesDose 2 calls itself dose 3"),
        (lambda tree: series(tree).update(targetDisease="Beta"), "its targetDisease is 'Beta'"),
        (lambda tree: series(tree).update(vaccineGroup="Delta"), "its vaccineGroup is 'Delta'"),
        (lambda tree: series(tree).update(seriesType="Optional"), "'Optional' is none of standard, risk"),
        (
            lambda tree: series(tree)["seriesDose"][0]["age"][0].update(minAge="six weeks"),
            "antigens.Alpha: series[0] 'Alpha 3-dose series': seriesDose[0]: not a period: 'six weeks'",
        ),
        (lambda tree: series(tree)["seriesDose"][0].update(recurringDose="Maybe"), "neither Yes nor No: 'Maybe'"),
        (
            lambda tree: series(tree)["seriesDose"][0]["preferableVaccine"][0].update(cvx="4711"),
            "CVX 4711 of dose 1 is not in cvxToAntigenMap",
        ),
        (
            lambda tree: series(tree)["seriesDose"][1]["conditionalSkip"][0]["set"][0]["condition"][0].update(
                conditionType="Vaccine Count by Age"
            ),
            "seriesDose[1]: a vaccine count without doseCount",
        ),
        (
            lambda tree: tree["schedule"]["cvxToAntigenMap"]["cvxMap"][0]["association"][0].update(antigen="Omega"),
            "CVX 9001: no antigen 'Omega'",
        ),
        (lambda tree: tree.update(published="yesterday", effective_from=None), "head: Invalid isoformat string"),
    ],
)
def test_a_broken_or_partial_schedule_is_refused_with_file_and_element(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    tree = json.loads(DEMO)
    change(tree)
    with pytest.raises(ScheduleError) as caught:
        load_schedule("mine.json", json.dumps(tree).encode())
    assert str(caught.value).startswith("mine.json: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", DEMO[:-200], b"PK\x03\x04 and no more"])
def test_what_is_no_schedule_is_refused(content: bytes) -> None:
    with pytest.raises(ScheduleError, match=r"^some file: "):
        load_schedule("some file", content)


def as_xml(name: str, value: object) -> str:
    """The official form of a part of the compact one."""
    if isinstance(value, list):
        return "".join(as_xml(name, one) for one in value)
    inner = "".join(as_xml(key, one) for key, one in value.items()) if isinstance(value, dict) else str(value)
    return f"<{name}>{inner.replace('&', '&amp;')}</{name}>"


def demo_as_zip(change: Callable[[dict[str, str]], object] = lambda texts: None) -> bytes:
    """The demonstration schedule in the layout of the official ZIP."""
    tree = json.loads(DEMO)
    texts = {"ScheduleSupportingData": as_xml("scheduleSupportingData", tree["schedule"])}
    for name, found in tree["antigens"].items():
        texts[f"AntigenSupportingData- {name}-508"] = as_xml("antigenSupportingData", found)
    change(texts)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(ENTRY.format(name), (2025, 9, 1, 0, 0, 0)), text)
    return packed.getvalue()


def test_the_official_layout_says_the_same() -> None:
    packed, plain = load_schedule("demo.zip", demo_as_zip()), schedules.demo()
    assert packed.antigens == plain.antigens
    assert (packed.groups, packed.products, packed.conflicts) == (plain.groups, plain.products, plain.conflicts)
    assert (packed.publication.version, packed.publication.effective_from.isoformat()) == ("1.0", "2025-09-01")


ALPHA = "AntigenSupportingData- Alpha-508"
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa">]><antigenSupportingData>&a;</antigenSupportingData>'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda texts: texts.pop("ScheduleSupportingData"), "ScheduleSupportingData.xml: missing"),
        (lambda texts: texts.pop(ALPHA), "antigens.Alpha: missing, but a vaccine group names it"),
        (
            lambda texts: texts.update({ALPHA: texts[ALPHA][:-30]}),
            f"{ALPHA}.xml: antigenSupportingData/series: broken XML",
        ),
        (lambda texts: texts.update({ALPHA: BOMB}), f"{ALPHA}.xml: a document type declaration"),
        (lambda texts: texts.update({ALPHA: "<other/>"}), f"{ALPHA}.xml: unexpected file, root element 'other'"),
        (
            lambda texts: texts.update({ALPHA: "<antigenSupportingData><series/></antigenSupportingData>"}),
            f"{ALPHA}.xml: series/targetDisease: missing",
        ),
        (
            lambda texts: texts.update({ALPHA: texts[ALPHA].replace("<seriesType>", "<seriesType/><seriesType>", 1)}),
            "",
        ),
        (
            lambda texts: texts.update(
                {ALPHA: texts[ALPHA].replace("<seriesType>", "<seriesType>Risk</seriesType><seriesType>", 1)}
            ),
            "antigenSupportingData/series/seriesType: given twice",
        ),
    ],
)
def test_a_broken_official_zip_is_refused_with_the_file_inside(
    change: Callable[[dict[str, str]], object], message: str
) -> None:
    packed = demo_as_zip(change)
    if not message:
        load_schedule("official.zip", packed)
        return
    with pytest.raises(ScheduleError) as caught:
        load_schedule("official.zip", packed)
    assert str(caught.value).startswith("official.zip: ")
    assert message in str(caught.value)


def test_a_damaged_zip_is_refused() -> None:
    packed = bytearray(demo_as_zip())
    packed[200] ^= 0xFF
    with pytest.raises(ScheduleError, match=r"^official\.zip: "):
        load_schedule("official.zip", bytes(packed))


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the CDC's files are not in ../shared/immunization")
def test_the_cdc_s_zip_and_compact_form_are_the_same_schedule() -> None:
    plain = load_schedule("schedule.json", (OFFICIAL / "schedule.json").read_bytes())
    [path] = (OFFICIAL / "supporting").glob("*.zip")
    packed = load_schedule(path.name, path.read_bytes())
    assert packed.antigens == plain.antigens
    assert (packed.groups, packed.products, packed.conflicts) == (plain.groups, plain.products, plain.conflicts)
    assert packed.observations == plain.observations
    assert (packed.publication.publisher, packed.publication.version) == ("CDC", plain.publication.version)
    assert packed.publication.effective_from == plain.publication.effective_from
    assert "Source: CDC" in packed.publication.licence
    assert "no endorsement" in packed.publication.licence


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the CDC's files are not in ../shared/immunization")
def test_every_element_of_the_cdc_s_xml_schemas_is_known() -> None:
    """Those that may repeat are read as lists."""
    [path] = (OFFICIAL / "supporting").glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        texts = [archive.read(name) for name in archive.namelist() if name.endswith(".xsd")]
    known = {field.name for kind in FORMS for field in msgspec.structs.fields(kind)}
    known |= {"antigenSupportingData", "scheduleSupportingData"}
    for text in texts:
        elements = list(elements_of(ElementTree.fromstring(text)))
        assert {name for _, name, _ in elements} <= known
        repeated = {f"{parent}/{name}" for parent, name, often in elements if often == "unbounded"}
        assert repeated <= supporting_data.LISTS


FORMS = [
    kind
    for module in (form, form_tables)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct
]


def elements_of(node: ElementTree.Element, parent: str = "") -> Iterator[tuple[str, str, str | None]]:
    """Parent, name and how often, of each element that an XML schema declares."""
    for child in node:
        name = child.get("name") if child.tag.endswith("}element") else None
        if name:
            yield parent, name, child.get("maxOccurs")
        yield from elements_of(child, name or parent)
