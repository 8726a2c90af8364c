"""Rule packs: what ships loads, and what is ill-formed is refused with file and key."""

from importlib.resources import files

import pytest

from care_gap_engine import packs

TEXT = (files("care_gap_engine.packs") / "hba1c-diabetes.toml").read_text()


def test_what_ships_loads() -> None:
    (rule,) = packs.shipped()
    assert (rule.id, rule.version, rule.months, rule.horizon_days) == ("hba1c-diabetes", "1", 6, 60)
    assert rule.conditions[0].without == ("E10A", "E11A")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("months = 6\n", "", "missing required field `months` - at `$.interval`"),
        ("months = 6", "months = 0", "$.interval.months"),
        ("months = 6", 'months = "six"', "$.interval.months"),
        ('version = "1"', 'version = "1"\nversoin = "2"', "unknown field `versoin`"),
        ('match = "prefix"', 'match = "regex"', "$.eligibility.conditions[0].match"),
        ('match = "prefix"', 'match = "exact"', "without: has a meaning"),
        ('exclusions = ["deceased"]', 'exclusions = ["hospice"]', "eligibility.exclusions: `hospice`"),
        ('closes = "A final', 'shuts = "A final', "texts.en.closes: is missing"),
        ("[texts.es]", "[texts.fr]", "texts.es.title: is missing"),
        ("due on {due}", "due on {duo}", "texts.en.closed: may use only the slots"),
        ("due on {due}", "due on {due", "texts.en.closed: may use only the slots"),
        (
            "effective_from = 2025-01-01",
            "effective_from = 2025-01-01\neffective_until = 2024-01-01",
            "rule.effective_until",
        ),
        ("[rule]", "[rule", "pack.toml: "),
    ],
)
def test_ill_formed_packs_are_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(packs.PackError) as caught:
        packs.read("pack.toml", TEXT.replace(old, new, 1).encode())
    assert str(caught.value).startswith("pack.toml: ")
    assert message in str(caught.value)


def test_an_id_is_taken_once() -> None:
    file = files("care_gap_engine.packs") / "hba1c-diabetes.toml"
    with pytest.raises(packs.PackError, match=r"rule\.id: `hba1c-diabetes` is already taken"):
        packs.load([file, file])
