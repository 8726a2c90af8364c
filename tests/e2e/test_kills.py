"""The proof of kills, at the size of a test; and the proof itself, which must see a planted fault."""

from pathlib import Path

import pytest

from careloop.proof.kills import run

pytestmark = pytest.mark.system
PLANTS = Path(__file__).parent / "plants"


def test_nothing_is_lost_or_done_twice_in_a_storm_of_kills():
    found = run(2000, 8, seed=1)
    assert found.accepted == 2000
    assert sum(found.victims.values()) == 8
    assert found.sends > 0
    assert found.clean, found


def test_the_proof_sees_an_answer_before_the_commit():
    planted = {"ingest-fhir": {"PYTHONPATH": str(PLANTS / "answer_before_commit")}}
    found = run(400, 3, seed=2, environment=planted, only=("ingest-fhir",))
    assert found.lost > 0
