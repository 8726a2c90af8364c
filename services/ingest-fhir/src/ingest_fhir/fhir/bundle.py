"""Bytes of one resource or one transaction Bundle to reports; every resource keeps its own bytes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from ingest_fhir.domain import Identifier, Report
from ingest_fhir.fhir import mapping
from ingest_fhir.fhir.outcome import Refusal, explained
from ingest_fhir.fhir.resources import AnyResource, Bundle, Condition, Entry, Observation, Patient
from ingest_fhir.fhir.values import Within, absolute, subject_of, token

ENTRIES = 5_000

_kind = msgspec.json.Decoder(AnyResource)
_bundle = msgspec.json.Decoder(Bundle)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "Patient": msgspec.json.Decoder(Patient),
    "Observation": msgspec.json.Decoder(Observation),
    "Condition": msgspec.json.Decoder(Condition),
}


def understand(
    raw: bytes, source: str, *, kind: str = "", if_none_exist: str = "", within: Within | None = None
) -> Report:
    """The report in one resource. With `kind` it must be one of that type. Raises Refusal."""
    kind = kind or _kind_of(raw)
    if kind not in _decoders:
        raise Refusal(422, "not-supported", "resource type is missing or not taken here", "resourceType")
    resource = _resource(raw, kind)
    unless = _condition(if_none_exist) if if_none_exist else None
    about = within or _nothing_else
    build = partial(Report, kind, source, raw=raw, unless=unless)
    if kind == "Patient":
        return build(mapping.people(resource, source), (mapping.demographics(resource),))
    subject = subject_of(resource.subject, source, about, f"{kind}.subject")
    if kind == "Observation":
        return build(subject, mapping.results(resource, source, raw))
    return build(subject, (mapping.diagnosis(resource, source, raw),))


def understand_bundle(raw: bytes, source: str) -> tuple[Report, ...]:
    """The reports in a transaction Bundle, in its order. The first finding refuses all of it."""
    bundle = _decoded(_bundle.decode, raw, "Bundle")
    if bundle.type != "transaction":
        raise Refusal(422, "not-supported", "only transaction Bundles are taken", "Bundle.type")
    if len(bundle.entry) > ENTRIES:
        raise Refusal(413, "too-costly", f"more than {ENTRIES} entries", "Bundle.entry")
    patients: dict[str, tuple[Identifier, ...]] = {}
    for at, entry in enumerate(bundle.entry):
        _inside(at, _index, entry, source, patients)
    return tuple(_inside(at, _entry, entry, source, patients) for at, entry in enumerate(bundle.entry))


def is_bundle(raw: bytes) -> bool:
    """Whether the body says that it is a Bundle. Raises Refusal when it says nothing that can be read."""
    return _kind_of(raw) == "Bundle"


def _inside(at: int, step: Callable[..., Any], *args: Any) -> Any:
    try:
        return step(*args)
    except Refusal as refusal:
        raise refusal.within(f"Bundle.entry[{at}]") from None


def _index(entry: Entry, source: str, patients: dict[str, tuple[Identifier, ...]]) -> None:
    """Remember under which addresses an entry's Patient may be referred to."""
    raw = bytes(entry.resource)
    if _kind_of(raw) != "Patient":
        return
    try:
        patient = _decoded(_decoders["Patient"].decode, raw, "Patient")
        url = entry.full_url or ""
        named = mapping.people(patient, source)
        if "/Patient/" in url:
            named += (absolute(url),)
    except Refusal as refusal:
        raise refusal.within("resource") from None
    for name in filter(None, (url, f"Patient/{patient.id}" if patient.id else "")):
        patients[name] = named


def _entry(entry: Entry, source: str, patients: dict[str, tuple[Identifier, ...]]) -> Report:
    if entry.request.method != "POST":
        raise Refusal(422, "not-supported", "only POST entries are taken", "request.method")
    kind = entry.request.url
    if kind not in _decoders:
        raise Refusal(422, "not-supported", "resource type is not taken here", "request.url")
    try:
        found = understand(
            bytes(entry.resource),
            source,
            kind=kind,
            if_none_exist=entry.request.if_none_exist or "",
            within=patients.get,
        )
    except Refusal as refusal:
        raise refusal.within("resource") from None
    named = patients.get(entry.full_url or "") if kind == "Patient" else None
    return Report(kind, source, named, found.statements, found.raw, found.unless) if named else found


def _condition(text: str) -> Identifier:
    """`identifier=system|value`, the one condition that can be asked."""
    query = text.removeprefix("?")
    if not query.startswith("identifier=") or "&" in query:
        raise Refusal(400, "not-supported", "only identifier=system|value can be a condition", "If-None-Exist")
    return token(query.removeprefix("identifier="), "If-None-Exist")


def _nothing_else(_: str) -> tuple[Identifier, ...] | None:
    return None


def _kind_of(raw: bytes) -> str:
    return str(_decoded(_kind.decode, raw, "").resource_type)


def _resource(raw: bytes, kind: str) -> Any:
    """The resource, which must be of this type; the type is looked at first when anything is wrong."""
    try:
        resource = _decoded(_decoders[kind].decode, raw, kind)
        found = resource.resource_type
    except Refusal:
        if (found := _kind_of(raw)) == kind:
            raise
    if found != kind:
        raise Refusal(422, "value", "resource type is not the one of this address", "resourceType")
    return resource


def _decoded(decode: Callable[[bytes], Any], raw: bytes, root: str) -> Any:
    try:
        return decode(raw)
    except msgspec.DecodeError as error:
        raise explained(error, root) from None
    except (RecursionError, UnicodeDecodeError):
        raise Refusal(400, "structure", "body is nested too deeply or is not UTF-8") from None
