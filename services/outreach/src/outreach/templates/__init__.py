"""Words for each message: generic ones for any channel, clinical ones for the portal alone.

A slot has a disclosure class. A library in which a clinical or identifying slot could reach an open channel, or
whose generic words already say too much, does not load.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_settings import BaseSettings, SettingsConfigDict

from outreach.templates.guard import says_too_much
from phi_common.events import Class
from phi_common.events.consent import Channel

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

LANGUAGES = ("en", "es")
TEMPLATES = ("gap-due", "gap-reminder")
"""By attempt."""
CONFIRMATION = "optout-confirm"
CONFIRMATION_SLOTS = ("practice",)
"""It says who heard the opt-out; anything more, a number to call too, could be read as an invitation."""
PACKAGED = Path(__file__).with_name("texts.toml")

Texts = Mapping[str, str]
"""By language."""


class TemplateSettings(BaseSettings):
    """`OUTREACH_TEMPLATES_FILE` replaces the packaged texts."""

    model_config = SettingsConfigDict(env_prefix="OUTREACH_TEMPLATES_")

    file: Path = PACKAGED


class BadTemplates(ValueError):
    """The library must not be used; says which text is wrong and why."""


@dataclass(frozen=True)
class Template:
    """One message in its two wordings."""

    generic: Texts
    clinical: Texts


@dataclass(frozen=True)
class Library:
    """Every text of a deployment, checked."""

    templates: Mapping[str, Template]
    practice: Mapping[str, str]
    endings: Mapping[str, Texts]
    services: Mapping[str, Texts]
    confirmations: Texts

    def words(self, attempt: int, channel: Channel, language: str, rule: str) -> str:
        """The text of one attempt. Only the portal may name what is due; other languages get English."""
        spoken = _spoken(language)
        template = self.templates[TEMPLATES[attempt - 1]]
        service = self.service(rule, spoken) if channel is Channel.PORTAL else None
        if service:
            return _render(template.clinical[spoken], {**self.practice, "service": service})
        text = _render(template.generic[spoken], self.practice)
        return text + self.endings.get(channel.value, {}).get(spoken, "")

    def confirmation(self, language: str) -> str:
        """What answers an opt-out by text: that it was heard."""
        return _render(self.confirmations[_spoken(language)], self.practice)

    def service(self, rule: str, language: str) -> str | None:
        """What the portal calls the service that a rule asks for."""
        names = self.services[language]
        known = [key for key in names if rule.lower().startswith(key)]
        return names[max(known, key=len)] if known else None


def _spoken(language: str) -> str:
    spoken = language.split("-")[0].lower()
    return spoken if spoken in LANGUAGES else LANGUAGES[0]


@cache
def library() -> Library:
    """The deployment's texts."""
    return load(TemplateSettings().file)


def load(path: Path) -> Library:
    """The texts of a file; `BadTemplates` if they could disclose too much or lack a language."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    slots = {name: Class(value) for name, value in raw["slots"].items()}
    plain = {name for name, disclosure in slots.items() if disclosure is Class.PLAIN}
    for name in TEMPLATES:
        _check(f"{name}.generic", raw[name]["generic"], plain)
        _check(f"{name}.clinical", raw[name]["clinical"], slots)
    confirmations = raw.get(CONFIRMATION, {}).get("generic", {})
    _check(f"{CONFIRMATION}.generic", confirmations, CONFIRMATION_SLOTS)
    if missing := [name for name in raw["practice"] if name not in plain]:
        raise BadTemplates(f"practice: {missing} is not a plain slot")
    found = Library(
        {name: Template(raw[name]["generic"], raw[name]["clinical"]) for name in TEMPLATES},
        raw["practice"],
        raw.get("endings", {}),
        raw["services"],
        confirmations,
    )
    _look(found)
    return found


def _check(name: str, texts: Texts, allowed: Iterable[str]) -> None:
    """Every language is there, and each text uses allowed slots only."""
    from jinja2 import meta

    for language in LANGUAGES:
        if language not in texts:
            raise BadTemplates(f"{name}: no {language} text")
        used = meta.find_undeclared_variables(_jinja().parse(texts[language]))
        if used - set(allowed):
            raise BadTemplates(f"{name}.{language}: may not use {sorted(used - set(allowed))}")


def _look(found: Library) -> None:
    """Every generic text, as it will be read, passes the content guard on an open channel."""
    for language in LANGUAGES:
        if says_too_much(found.confirmation(language)):
            raise BadTemplates(f"{CONFIRMATION}.generic.{language}: says too much for an open channel")
        for attempt, name in enumerate(TEMPLATES, 1):
            if says_too_much(found.words(attempt, Channel.SMS, language, rule="")):
                raise BadTemplates(f"{name}.generic.{language}: says too much for an open channel")


@cache
def _jinja() -> "SandboxedEnvironment":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


def _render(text: str, slots: Mapping[str, str]) -> str:
    return _jinja().from_string(text).render(slots)
