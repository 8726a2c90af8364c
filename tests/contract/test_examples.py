"""Synthetic payloads of every event that must be readable for ever. A committed one is never edited."""

import hashlib
import json
import re

import pytest
from house import HERE, REFRESH, events, updating
from jsonschema import Draft202012Validator

EXAMPLES = HERE / "examples"
HASHES = EXAMPLES / "SHA256SUMS"
FILES = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("*/*.json"))
PHONE = re.compile(r"\+1\d{3}55501\d\d")


def hashes():
    lines = HASHES.read_text().splitlines() if HASHES.exists() else []
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def digest_of(name):
    return hashlib.sha256((EXAMPLES / name).read_bytes()).hexdigest()


def test_every_event_has_an_example_and_every_example_an_event():
    assert {name.split("/")[0] for name in FILES} == set(events())


def test_no_example_was_edited_or_lost():
    known = hashes()
    assert {name: digest_of(name) for name in known if (EXAMPLES / name).exists()} == known
    if updating():
        HASHES.write_text("".join(f"{digest_of(name)}  {name}\n" for name in FILES))
    assert list(hashes()) == FILES, f"a new example: {REFRESH}"


@pytest.mark.parametrize("name", FILES)
def test_an_example_fits_the_schema_and_parses(name):
    text = (EXAMPLES / name).read_text()
    model = events()[name.split("/")[0]]
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(model.model_json_schema(), format_checker=checker).validate(json.loads(text))
    parsed = model.model_validate_json(text)
    assert model.model_validate_json(parsed.model_dump_json()) == parsed


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_clearly_synthetic(name):
    found = json.loads((EXAMPLES / name).read_text())
    assert found["patient_id"].startswith("00000000-")
    assert found.get("family") in (None, "Synthetic")
    assert all(mail.endswith("@example.org") for mail in found.get("emails") or ())
    assert all(PHONE.fullmatch(re.sub(r"[ ()-]", "", phone["number"])) for phone in found.get("phones") or ())
