"""What may be read on which channel."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outreach.templates import LANGUAGES, PACKAGED, BadTemplates, library, load
from outreach.templates.guard import says_too_much
from phi_common.events.consent import Channel

OPEN = [Channel.SMS, Channel.EMAIL, Channel.PHONE, Channel.OTHER]
SERVICES = [key for names in tomllib.loads(PACKAGED.read_text())["services"].values() for key in names]


@pytest.mark.parametrize(
    ("text", "blocked"),
    [
        ("You are due for a health screening; call us to schedule", False),
        ("Le corresponde un chequeo de salud; llámenos para programarlo.", False),
        ("Still a paper form of the State Care Group, standard rates may apply", False),
        ("Your diabetes monitoring appointment is overdue.", True),
        ("Your DIABETES monitoring appointment is overdue.", True),
        ("Su control de diábetes", True),
        ("Your dia\u00adbetes visit", True),
        ("Your mammogram is due", True),
        ("Time for your HbA1c", True),
        ("Your A1C test", True),
        ("Springfield Oncology: call us", True),
        ("Su presión arterial", True),
        ("Your lab results are ready", True),
    ],
)
def test_the_content_guard(text: str, blocked: bool):
    assert says_too_much(text) is blocked


@given(
    st.sampled_from([1, 2]),
    st.sampled_from(OPEN),
    st.sampled_from([*LANGUAGES, "es-MX", "fr", ""]),
    st.one_of(st.sampled_from(SERVICES), st.text(max_size=20)),
)
def test_no_clinical_word_on_an_open_channel(attempt: int, channel: Channel, language: str, rule: str):
    assert not says_too_much(library().words(attempt, channel, language, rule))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("attempt", [1, 2])
def test_the_portal_names_the_service(attempt: int, language: str):
    assert "HbA1c" in library().words(attempt, Channel.PORTAL, language, "hba1c-diabetes")


def test_the_portal_falls_back_to_generic_words_for_a_rule_without_a_name():
    text = library().words(1, Channel.PORTAL, "en", "something-new")
    assert not says_too_much(text)
    assert "STOP" not in text


@pytest.mark.parametrize("language", [*LANGUAGES, "es-MX", "fr", ""])
def test_the_answer_to_a_stop_confirms_and_asks_for_nothing(language: str):
    text = library().confirmation(language)
    assert not says_too_much(text)
    assert len(text) <= 160
    assert not any(sign.isdigit() for sign in text)
    assert not any(word in text.lower() for word in ("http", "call", "llame", "offer", "reply", "responda"))


def test_a_text_on_sms_says_how_to_stop():
    assert all("STOP" in library().words(n, Channel.SMS, language, "x") for n in (1, 2) for language in LANGUAGES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("health screening; call us to schedule", "{{ service }}; call us to schedule", "may not use"),
        ("health screening; call us to schedule", "{{ given }}; call us", "may not use"),
        ("health screening; call us to schedule", "mammogram; call us", "says too much"),
        ('practice = "Your care team"', 'practice = "Springfield Oncology"', "says too much"),
        ('practice = "Your care team"', 'service = "x"', "not a plain slot"),
        ("will get no more texts from us", "may still call {{ phone }}", "may not use"),
        ("You have opted out", "You have opted out of diabetes texts", "says too much"),
        ("[optout-confirm.generic]", "[optout.generic]", "no en text"),
    ],
    ids=[
        "clinical slot",
        "undeclared slot",
        "clinical word",
        "telling name",
        "clinical value",
        "an invitation in the answer to a STOP",
        "a clinical word in it",
        "no answer to a STOP",
    ],
)
def test_a_library_that_could_say_too_much_does_not_load(tmp_path: Path, old: str, new: str, message: str):
    path = tmp_path / "texts.toml"
    path.write_text(PACKAGED.read_text().replace(old, new))
    with pytest.raises(BadTemplates, match=message):
        load(path)


def test_a_missing_language_does_not_load(tmp_path: Path):
    lines = PACKAGED.read_text().splitlines()
    path = tmp_path / "texts.toml"
    path.write_text("\n".join(line for line in lines if "Le recordamos" not in line))
    with pytest.raises(BadTemplates, match="no es text"):
        load(path)
