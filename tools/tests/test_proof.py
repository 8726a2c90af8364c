"""The judge of opt-outs sees what it is there to see: faults are planted into a journal that is in order."""

import pytest

from careloop.proof.optouts import OptOut, Verdict, judge

NUMBER, OTHER = "+12025550101", "+12025550102"
STOP = OptOut("stop", NUMBER, received=100.0, effective=101.0)
CONFIRMS = {"confirm": "stop", "again": "stop"}
GOOD = [
    {"tag": "care-1", "to": NUMBER, "at": 90.0},
    {"tag": "care-2", "to": NUMBER, "at": 100.9},
    {"tag": "confirm", "to": NUMBER, "at": 102.0},
    {"tag": "care-3", "to": OTHER, "at": 200.0},
]


def test_what_went_out_before_and_one_confirmation_are_in_order():
    assert judge(GOOD, [STOP], CONFIRMS) == Verdict(violations=0, confirmations=1)
    assert judge(GOOD[:2], [STOP], CONFIRMS) == Verdict(violations=0, confirmations=0)


@pytest.mark.parametrize(
    "planted",
    [
        {"tag": "care-4", "to": NUMBER, "at": 101.1},
        {"tag": "again", "to": NUMBER, "at": 103.0},
        {"tag": "confirm", "to": NUMBER, "at": 103.0},
        {"tag": "again", "to": OTHER, "at": 103.0},
    ],
    ids=["another message", "a second confirmation", "the same one again", "a confirmation to another number"],
)
def test_a_planted_violation_counts(planted):
    assert judge([*GOOD, planted], [STOP], CONFIRMS) == Verdict(violations=1, confirmations=1)


@pytest.mark.parametrize("at", [100.5, 400.1], ids=["before it was in effect", "after five minutes"])
def test_a_confirmation_at_the_wrong_time_counts(at):
    journal = [*GOOD[:2], {"tag": "confirm", "to": NUMBER, "at": at}]
    assert judge(journal, [STOP], CONFIRMS) == Verdict(violations=1, confirmations=0)


def test_a_confirmation_of_an_opt_out_that_nobody_made_counts():
    journal = [*GOOD, {"tag": "stray", "to": OTHER, "at": 150.0}]
    assert judge(journal, [STOP], CONFIRMS | {"stray": "nothing"}).violations == 1
