"""Reads rule packs: versioned TOML files, refused as a whole when anything in them is wrong."""

from collections.abc import Iterable
from datetime import date
from importlib.resources import files
from string import Formatter
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from care_gap_engine.domain.decide import Protocols
from care_gap_engine.domain.explain import LANGUAGES, TEXTS
from care_gap_engine.domain.rules import EXCLUSIONS, Codes, Rule

Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]
SLOTS = frozenset({"due", "last", "months"})


class PackError(ValueError):
    """A pack that must not be used; says which file and which key."""


class PackFile(Protocol):
    """A file of a directory or of an installed package."""

    @property
    def name(self) -> str:
        """Without folders."""
        ...

    def read_bytes(self) -> bytes:
        """The whole content."""
        ...


class Head(Struct, forbid_unknown_fields=True):
    """What the rule is, who says so, and when it holds."""

    id: Annotated[str, Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: Text
    authority: Text
    sources: Annotated[list[Text], Meta(min_length=1)]
    licence: Text
    effective_from: date
    effective_until: date | None = None


class CodeTable(Struct, forbid_unknown_fields=True):
    """Codes of one system."""

    system: Text
    match: Literal["exact", "prefix"]
    codes: Annotated[list[Text], Meta(min_length=1)]
    without: list[Text] = []

    def read(self) -> Codes:
        """The codes as the domain compares them."""
        if self.match == "exact":
            return Codes(self.system, tuple(self.codes))
        return Codes(self.system, bare(self.codes), prefix=True, without=bare(self.without))


class Eligibility(Struct, forbid_unknown_fields=True):
    """Who needs the service, and who is left alone."""

    conditions: Annotated[list[CodeTable], Meta(min_length=1)]
    exclusions: list[Text] = []


class Interval(Struct, forbid_unknown_fields=True):
    """How often, who says so, and how early it is announced."""

    months: Positive
    source: Text
    horizon_days: Annotated[int, Meta(ge=0)]


class Pack(Struct, forbid_unknown_fields=True):
    """One file."""

    rule: Head
    eligibility: Eligibility
    evidence: Annotated[list[CodeTable], Meta(min_length=1)]
    interval: Interval
    texts: dict[str, dict[str, Text]]


def bare(codes: Iterable[str]) -> tuple[str, ...]:
    """Codes without dots, in capitals."""
    return tuple(code.replace(".", "").upper() for code in codes)


def shipped() -> tuple[Rule, ...]:
    """The rules that come with this version of the service."""
    return load(file for file in files(__name__).iterdir() if file.name.endswith(".toml"))


def load(found: Iterable[PackFile]) -> tuple[Rule, ...]:
    """The rules of some files, by id; raises `PackError`."""
    rules: dict[str, Rule] = {}
    for file in sorted(found, key=lambda file: file.name):
        rule = read(file.name, file.read_bytes())
        if rule.id in rules:
            raise PackError(f"{file.name}: rule.id: `{rule.id}` is already taken by another file")
        rules[rule.id] = rule
    return tuple(rules.values())


def read(name: str, content: bytes) -> Rule:
    """The rule that a pack file holds; raises `PackError`."""
    try:
        pack = msgspec.toml.decode(content, type=Pack)
    except (msgspec.DecodeError, ValueError) as wrong:
        raise PackError(f"{name}: {wrong}") from wrong
    for key, problem in flaws(pack):
        raise PackError(f"{name}: {key}: {problem}")
    return Rule(
        id=pack.rule.id,
        version=pack.rule.version,
        authority=pack.rule.authority,
        sources=tuple(pack.rule.sources),
        licence=pack.rule.licence,
        effective_from=pack.rule.effective_from,
        effective_until=pack.rule.effective_until,
        conditions=tuple(table.read() for table in pack.eligibility.conditions),
        exclusions=frozenset(pack.eligibility.exclusions),
        evidence=tuple(table.read() for table in pack.evidence),
        months=pack.interval.months,
        interval_source=pack.interval.source,
        horizon_days=pack.interval.horizon_days,
        texts=pack.texts,
    )


def flaws(pack: Pack) -> Iterable[tuple[str, str]]:
    """What the types alone cannot see: the key, and what is wrong with it."""
    if pack.rule.effective_until is not None and pack.rule.effective_until <= pack.rule.effective_from:
        yield "rule.effective_until", "is not after effective_from"
    for exclusion in pack.eligibility.exclusions:
        if exclusion not in EXCLUSIONS:
            yield "eligibility.exclusions", f"`{exclusion}` is none of {', '.join(sorted(EXCLUSIONS))}"
    for table in (*pack.eligibility.conditions, *pack.evidence):
        if table.without and table.match == "exact":
            yield "without", "has a meaning with match = 'prefix' only"
    for language in LANGUAGES:
        texts = pack.texts.get(language, {})
        for key in TEXTS:
            if key not in texts:
                yield f"texts.{language}.{key}", "is missing"
        for key, text in texts.items():
            if key not in TEXTS:
                yield f"texts.{language}.{key}", "is not a text that anybody shows"
            if not slots(text) <= SLOTS:
                yield f"texts.{language}.{key}", f"may use only the slots {', '.join(sorted(SLOTS))}"


def slots(text: str) -> set[str]:
    """The slot names of a text; a broken one is a slot that nothing may fill."""
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError:
        return {"?"}


PROTOCOLS = Protocols(shipped())
