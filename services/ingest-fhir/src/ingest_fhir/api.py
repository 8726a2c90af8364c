"""FHIR R4 over HTTP: create, transaction, and looking a patient up. Every refusal is an OperationOutcome."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Request, Response

from ingest_fhir.desk import Desk, desk_of
from ingest_fhir.domain import Answer, Filed, KeyReused, Report, Submission
from ingest_fhir.fhir import Issue, Refusal, is_bundle, outcome, token, understand, understand_bundle
from ingest_fhir.storage.accept import patient_with
from phi_common.auth import Principal, authenticate
from phi_common.db import TooLarge
from phi_common.eventing.accept import Unavailable
from phi_common.problem import Problem
from phi_common.runtime import Runtime
from phi_common.telemetry import log, new_traceparent
from phi_common.transaction import Erased

FHIR_WRITE = "fhir:write"
FHIR_SEARCH = "fhir:search"

LONGEST_BODY = 8 * 1024 * 1024
LONGEST_KEY = 255
MEDIA_TYPE = "application/fhir+json"
JSON = frozenset({MEDIA_TYPE, "application/json"})
FORM = frozenset({"application/x-www-form-urlencoded"})
CODES = {401: "login", 403: "forbidden", 404: "not-found", 503: "transient"}
VERSION = {"ETag": 'W/"1"'}

Endpoint = Callable[[Request], Awaitable[Response]]
router = APIRouter()


def route(path: str, permission: str) -> Callable[[Callable[[Request, Principal], Awaitable[Response]]], Endpoint]:
    """A raw POST route: a permission, and every error in FHIR's own form. No body model stands in the hot path."""

    def register(answer: Callable[[Request, Principal], Awaitable[Response]]) -> Endpoint:
        @wraps(answer)
        async def endpoint(request: Request) -> Response:
            try:
                principal = await authenticate(request)
                principal.require(permission)
                return await answer(request, principal)
            except Exception as error:
                return refused(error)

        endpoint.permission = permission  # type: ignore[attr-defined]
        router.add_route(path, endpoint, methods=["POST"])
        return endpoint

    return register


def refused(error: Exception) -> Response:
    """What a sender may know of an error: where and why, never what it had written."""
    headers: dict[str, str] | None = None
    match error:
        case Refusal():
            status, issue = error.status, error.issue
        case Problem():
            status, headers = error.status, error.headers
            issue = Issue(CODES.get(status, "processing"), error.title)
        case KeyReused():
            status, issue = 409, Issue("duplicate", "Idempotency-Key was used for another request")
        case Erased():
            status, issue = 410, Issue("deleted", "the record of this patient was erased")
        case TooLarge():
            status, issue = 413, Issue("too-long", "one value is longer than can be passed on")
        case Unavailable():
            status, headers = 503, {"Retry-After": "2"}
            issue = Issue("transient", "nothing was stored, send it again")
        case _:
            log.error("request-failed", error=error)
            status, issue = 500, Issue("exception", "internal error")
    return Response(outcome(issue), status, headers=headers, media_type=MEDIA_TYPE)


async def body_of(request: Request, media_types: frozenset[str]) -> bytes:
    """The body, as long as it is of these types and not too long."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in media_types:
        raise Refusal(415, "not-supported", f"Content-Type must be {' or '.join(sorted(media_types))}")
    if int(request.headers.get("content-length") or 0) > LONGEST_BODY:
        raise Refusal(413, "too-long", "body is too long")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LONGEST_BODY:
            raise Refusal(413, "too-long", "body is too long")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def typed(kind: str) -> Endpoint:
    """`POST /fhir/<kind>`."""

    async def create_typed(request: Request, principal: Principal) -> Response:
        raw = await body_of(request, JSON)
        report = understand(raw, principal.subject, kind=kind, if_none_exist=condition(request))
        return await create(request, principal, raw, report)

    return route(f"/fhir/{kind}", FHIR_WRITE)(create_typed)


create_observation, create_condition, create_patient = map(typed, ("Observation", "Condition", "Patient"))


@route("/fhir", FHIR_WRITE)
async def transact(request: Request, principal: Principal) -> Response:
    """A transaction Bundle, stored as a whole or not at all; or a single resource."""
    raw = await body_of(request, JSON)
    if not is_bundle(raw):
        return await create(
            request, principal, raw, understand(raw, principal.subject, if_none_exist=condition(request))
        )
    return await submit(request, principal, raw, understand_bundle(raw, principal.subject), transaction_response)


async def create(request: Request, principal: Principal, raw: bytes, report: Report) -> Response:
    """One resource: 201, or 200 when the condition found it."""
    return await submit(request, principal, raw, (report,), created)


def condition(request: Request) -> str:
    """The condition of a conditional create."""
    return request.headers.get("if-none-exist", "")


async def submit(
    request: Request,
    principal: Principal,
    raw: bytes,
    reports: tuple[Report, ...],
    answer: Callable[[list[Filed]], Answer],
) -> Response:
    """Store, wait until that is durable, and answer; a repeated Idempotency-Key gets the first answer again."""
    desk = desk_of(request.app.state.runtime)
    key = request_key(request, principal, desk)
    asked = f"{request.scope['path']}\0{condition(request)}\0".encode() if key else b""
    given = await desk.submit(
        Submission(
            reports=reports,
            by=principal.subject,
            action=FHIR_WRITE,
            answer=answer,
            request_hash=hashlib.sha256(asked + raw).digest() if key else b"",
            key=key,
            traceparent=new_traceparent(request.headers.get("traceparent")),
        )
    )
    headers = VERSION | {"Location": given.location} if given.location else None
    return Response(given.body, given.status, headers=headers, media_type=MEDIA_TYPE if given.body else None)


def request_key(request: Request, principal: Principal, desk: Desk) -> str:
    """Where the answer to this request is remembered."""
    name = request.headers.get("idempotency-key", "")
    if len(name) > LONGEST_KEY:
        raise Refusal(400, "value", f"Idempotency-Key is longer than {LONGEST_KEY}")
    return desk.intake.key("fhir", f"{principal.subject}|{name}") if name else ""


def created(filed: list[Filed]) -> Answer:
    """The answer to one create."""
    return Answer(200 if filed[0].existed else 201, location=filed[0].location)


def transaction_response(filed: list[Filed]) -> Answer:
    """One response entry for each request entry, in its order."""
    entries = []
    for each in filed:
        status = HTTPStatus.OK if each.existed else HTTPStatus.CREATED
        entries.append(
            {
                "response": {
                    "status": f"{status} {status.phrase}",
                    "location": each.location[6:],
                    "etag": 'W/"1"',
                }
            }
        )
    bundle = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
    return Answer(200, msgspec.json.encode(bundle if entries else {k: v for k, v in bundle.items() if k != "entry"}))


@route("/fhir/Patient/_search", FHIR_SEARCH)
async def search(request: Request, principal: Principal) -> Response:
    """Our id for `identifier=system|value`, by form, so that no identifier stands in a URL. The read is audited."""
    form = parse_qs((await body_of(request, FORM)).decode("utf-8", "replace"), max_num_fields=10)
    if set(form) != {"identifier"} or len(form["identifier"]) != 1:
        raise Refusal(400, "not-supported", "search by exactly one identifier=system|value", "identifier")
    identifier = token(form["identifier"][0], "identifier")
    runtime: Runtime = request.app.state.runtime
    async with runtime.transaction(principal.subject) as tx:
        patient = await patient_with(tx, desk_of(runtime).intake, identifier)
        if patient is not None and not principal.may_see(patient):
            patient = None
        tx.audit(FHIR_SEARCH, patient)
    found = []
    if patient is not None:
        resource = {
            "resourceType": "Patient",
            "id": str(patient),
            "identifier": [{"system": identifier.system, "value": identifier.value}],
        }
        found.append({"fullUrl": f"urn:uuid:{patient}", "resource": resource, "search": {"mode": "match"}})
    bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
    return Response(msgspec.json.encode(bundle | ({"entry": found} if found else {})), media_type=MEDIA_TYPE)


@route("/fhir/{elsewhere:path}", FHIR_WRITE)
async def nothing_here(request: Request, principal: Principal) -> Response:
    """Every other address, so that this too is said in FHIR's own form."""
    raise Refusal(404, "not-supported", "nothing is taken at this address")
