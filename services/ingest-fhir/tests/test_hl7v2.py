"""HL7 v2 by position: what messages say, and what their senders are told when they say it wrongly."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st

from ingest_fhir.domain import Demographics, Diagnosis, Identifier, Result
from ingest_fhir.hl7v2 import Header, Interface, Problem, acknowledge, understand
from ingest_fhir.hl7v2.times import in_fhir
from phi_common.events.clinical import ConditionStatus, ObservationStatus
from phi_common.events.patients import Phone, Sex, Use

SAMPLES = Path(__file__).parents[4] / "shared" / "hl7v2"
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
IDS = "42^^^NORTH^MR~V1^^^NORTH^VN~7^^^&2.16.840.1.1&ISO^MR"
PID = f"PID|1||{IDS}||Roe^Ada||19600614|F|||1 Elm^^X^NY^10001||^PRS^CP^^^212^5550100||es"
ADT = ("MSH|^~\\&|EHR|NORTH|||20260302||ADT^A08|c1|P|2.5.1", PID)
ORU = (
    "MSH|^~\\&|LAB|NORTH|||20260302||ORU^R01|c2|P|2.5.1",
    "PID|1||42^^^NORTH^MR",
    "OBR|1||F77^LAB|4548-4^HbA1c^LN|||202603011015-0500",
)


def message(*segments: str, end: str = "\r") -> bytes:
    return (end.join(segments) + end).encode()


def said(data: bytes) -> tuple:
    heard = understand(data, Interface())
    assert heard.problem is None, heard.problem
    assert heard.report is not None
    return heard.report.statements


def problem(data: bytes) -> Problem:
    found = understand(data, Interface()).problem
    assert found is not None
    return found


def test_an_admission_says_who_the_person_is():
    report = understand(message(*ADT), Interface(sources={"EHR|NORTH": "epic"}, facilities={"NORTH": "north"})).report
    assert report is not None
    assert report.source == "epic"
    assert report.identifiers == (
        Identifier("urn:hl7v2:NORTH", "42"),
        Identifier("urn:oid:2.16.840.1.1", "7"),
    )
    assert report.statements == (
        Demographics(
            "Roe", "Ada", "1960-06-14", Sex.FEMALE, None,
            (Phone(number="2125550100", use=Use.MOBILE),), (), "es", "10001", "north",
        ),
    )  # fmt: skip


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\n\r\n"])
@pytest.mark.parametrize("frame", [b"%s", b"\x0b%s\x1c\r", b"\xef\xbb\xbf%s"])
def test_line_ends_and_framing_do_not_matter(end: str, frame: bytes):
    assert said(frame % message(*ADT, end=end)) == said(message(*ADT))


@pytest.mark.parametrize("encoding", ["^~\\&", "^~\\&#", "^~\\\\&", "^~\\", "^~"])
def test_odd_delimiters_are_read(encoding: str):
    head = f"MSH|{encoding}|EHR|NORTH|||20260302||ADT^A08|c1|P|2.5.1"
    assert said(message(head, PID)) == said(message(*ADT))


def test_other_delimiters_are_read():
    head = "MSH$*~\\&$EHR$NORTH$$$20260302$$ADT*A08$c1$P$2.5.1"
    assert said(message(head, PID.replace("|", "$").replace("^", "*"))) == said(message(*ADT))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("O\\T\\Neil", "O&Neil"), ("a\\F\\b\\S\\c\\R\\d\\E\\e", "a|b^c~d\\e"), ("x\\X4A\\y", "xJy"),
        ("\\H\\Roe\\N\\", "Roe"),
        ("a\\.br\\b", "a\nb"), ("open\\end", "open\\end"), ("a\\Q\\b", "a\\Q\\b"), ('""', ""), ("", None),
    ],
)  # fmt: skip
def test_escapes_and_deletion(name: str, family: str | None):
    assert said(message(ADT[0], f"PID|1||42^^^N||{name}"))[0].family == family


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("8859/1", "iso-8859-1"),
        ("UNICODE UTF-8", "utf-8"),
        ("8859/1", "utf-8"),
        ("ASCII", "utf-8"),
        ("", "utf-8"),
    ],
)
def test_character_sets(charset: str, encoding: str):
    text = f"MSH|^~\\&|E|N|||1||ADT^A08|c|P|2.5|||||| {charset}\rPID|1||42^^^N||Muñoz".replace("| ", "|")
    assert said(text.encode(encoding))[0].family == "Muñoz"


@pytest.mark.parametrize(
    ("sent", "fhir"),
    [
        ("2026", "2026"), ("202603", "2026-03"), ("20260302", "2026-03-02"), ("202603021015", "2026-03-02T10:15"),
        ("202603021015-0500", "2026-03-02T10:15-05:00"), ("20260302101530.25+0000", "2026-03-02T10:15:30.25+00:00"),
        ("2026030210", "2026-03-02T10:00"), ("20260230", None), ("202613", None), ("soon", None), ("20260302T10", None),
    ],
)  # fmt: skip
def test_times_keep_precision_and_offset(sent: str, fhir: str | None):
    assert in_fhir(sent) == fhir


@pytest.mark.parametrize(
    ("fields", "dead"),
    [
        ("|", None),
        ("|Y", True),
        ("|N ", False),
        ("20260101|", True),
        ("20260101|N", True),
        ("|UNK", None),
        ('|""', False),
    ],
)
def test_death(fields: str, dead: bool | None):
    assert said(message(ADT[0], "PID|1||42^^^N" + "|" * 26 + fields))[0].deceased is dead


@pytest.mark.parametrize(
    ("field", "phones", "emails"),
    [
        ("555-0100", [("555-0100", Use.HOME)], []), ("^PRN^PH^^^610^5551234", [("6105551234", Use.HOME)], []),
        ("5550100^PRN^CP", [("5550100", Use.MOBILE)], []), ("^NET^Internet^a@b.org", [], ["a@b.org"]),
        ("a@b.org", [], ["a@b.org"]), ("5550100^^^MOBILE", [("5550100", Use.MOBILE)], []), ("5550100^PRN^FX", [], []),
        ('""', [], []),
    ],
)  # fmt: skip
def test_contacts(field: str, phones: list, emails: list):
    found = said(message(ADT[0], "PID|1||42^^^N" + "|" * 10 + field))[0]
    assert [(phone.number, phone.use) for phone in found.phones] == phones
    assert list(found.emails) == emails


def test_diagnoses_are_recorded_and_removed():
    dg1 = [
        "DG1|1||E11.9^Diabetes^I10||20200101",
        "DG1|2||44054006^Diabetes^SCT" + "|" * 18 + "D",
        "DG1|3||^text only",
    ]
    _, first, second = said(message(*ADT, *dg1))
    assert (first.system, first.code, first.status, first.onset) == (
        "http://hl7.org/fhir/sid/icd-10-cm", "E11.9", ConditionStatus.ACTIVE, "2020-01-01",
    )  # fmt: skip
    assert (second.system, second.status) == ("http://snomed.info/sct", ConditionStatus.ENTERED_IN_ERROR)
    assert isinstance(first, Diagnosis)


@pytest.mark.parametrize(
    ("obx", "value", "unit", "status"),
    [
        ("OBX|1|NM|4548-4^A1c^LN||7.10|%|||||F", "7.10", "%", ObservationStatus.FINAL),
        ("OBX|1|SN|4548-4^A1c^LN||<^5|%|||||C", "<5", "%", ObservationStatus.CORRECTED),
        ("OBX|1|CWE|4548-4^A1c^LN||A^high^L||||||D", "high", None, ObservationStatus.ENTERED_IN_ERROR),
        ("OBX|1|ST|A1C^A1c^L^4548-4^A1c^LN||a~b||||||X", "a\nb", None, ObservationStatus.CANCELLED),
        ("OBX|1|ED|4548-4^A1c^LN||^^^Base64^AAAA||||||P", None, None, ObservationStatus.PRELIMINARY),
        ("OBX|1|NM|4548-4^A1c^LN||7||||||?", "7", None, ObservationStatus.OTHER),
    ],
)
def test_results(obx: str, value: str | None, unit: str | None, status: ObservationStatus):
    (found,) = said(message(*ORU, obx))
    assert isinstance(found, Result)
    assert (found.system, found.code) == ("http://loinc.org", "4548-4")
    assert (found.value, found.unit, found.status, found.effective) == (
        value,
        unit,
        status,
        "2026-03-01T10:15-05:00",
    )


def test_a_correction_has_the_identity_of_what_it_corrects():
    (first,) = said(message(*ORU, "OBX|1|NM|4548-4^^LN||7.1|%|||||F"))
    (second,) = said(message(*ORU, "OBX|1|NM|4548-4^^LN||7.9|%|||||C"))
    (other,) = said(message(*ORU, "OBX|1|NM|4548-4^^LN|2|7.9|%|||||C"))
    assert first.key == second.key != other.key


@pytest.mark.parametrize(
    ("data", "where", "code", "reject"),
    [
        (b"", "MSH", "100", True),
        (b"hello", "MSH", "100", True),
        (b"MSH|^~\\&|\xff\xfe", "MSH-18", "102", False),
        (message("FHS|^~\\&|"), "FHS", "207", True),
        (message(ADT[0]), "PID", "100", False),
        (message(ADT[0], "PID|1"), "PID-3", "101", False),
        (message("MSH|^~\\&|E||||1||ADT^A08|c|P|2.5", "PID|1||42"), "PID-3", "101", False),
        (message(ADT[0], PID, PID), "PID", "207", False),
        (message(ADT[0], "PID|1||42^^^N||||1960-06-14"), "PID-7", "102", False),
        (message(*ORU, "OBX|1|NM|4548-4^^LN||7||||||F|||yesterday"), "OBX-14", "102", False),
        (message(ADT[0].replace("2.5.1", "3.0"), PID), "MSH-12", "203", True),
        (message(ADT[0].replace("ADT^A08", "SIU^S12"), PID), "MSH-9", "200", True),
        (message(ADT[0].replace("A08", "A99"), PID), "MSH-9", "201", True),
        (message("MSH|^~\\&|E|N|||1|||c|P|2.5", PID), "MSH-9", "101", True),
    ],
)
def test_problems_say_where(data: bytes, where: str, code: str, reject: bool):
    found = problem(data)
    assert (str(found).partition(":")[0], found.code, found.reject) == (where, code, reject)


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes):
    heard = understand(data, Interface())
    assert (heard.report is None) != (heard.problem is None)


@given(
    st.text(max_size=20),
    st.lists(st.text(alphabet='|^~\\&"\r\nPIDOBX0123456789-+.ñ', max_size=60), max_size=6),
)
def test_no_fields_raise(encoding: str, fields: list[str]):
    for event in ("ADT^A08", "ORU^R01"):
        body = "|".join(fields)
        head = f"MSH|{encoding}|E|N|||1||{event}|c|P|2.5"
        rest = (f"PID|1||42^^^N|{body}", f"OBR|1|{body}", f"OBX|1|NM|4548-4^^LN|{body}", f"DG1|{body}")
        heard = understand("\r".join((head, *rest)).encode("utf-8", "replace"), Interface())
        assert (heard.report is None) != (heard.problem is None)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample messages are not beside this clone")
def test_every_sample_is_mapped_or_refused_with_a_reason():
    mapped = 0
    for path in sorted(SAMPLES.glob("*.hl7")):
        heard = understand(path.read_bytes(), Interface())
        assert (heard.report is None) != (heard.problem is None), path.name
        if heard.report is not None:
            mapped += 1
            assert heard.report.identifiers, path.name
        else:
            assert heard.problem is not None
            assert heard.problem.segment, path.name
    assert mapped >= 40


@pytest.mark.parametrize("version", ["2.3", "2.4", "2.5", "2.5.1", "2.6", "", "9"])
def test_acknowledgements_are_read_by_another_library(version: str):
    header = Header("E|HR", "N&RTH", "ADT", "A08", "c^1", "P", version)
    found = parse_message(acknowledge(header, NOW).decode(), find_groups=False)
    assert found.msa.msa_1.value == "AA"
    assert found.msa.msa_2.value.replace("\\S\\", "^") == "c^1"
    assert found.msh.msh_9.msh_9_1.value == "ACK"


def test_an_error_names_its_place():
    ack = acknowledge(Header(control_id="c1", version="2.5.1"), NOW, Problem("101", "no patient identifier", "PID", 3))
    found = parse_message(ack.decode(), find_groups=False)
    assert found.msa.msa_1.value == "AE"
    assert found.err.err_2.value == "PID^1^3"
    assert found.err.err_3.err_3_1.value == "101"
    assert found.err.err_4.value == "E"
    assert "PID-3" in found.err.err_8.value
