"""The OpenAPI document of each service is the committed one, and its README leads there.

FHIR and MLLP are not in it: ADR 0011, and the README of ingest-fhir.
"""

import importlib
import json

import pytest
from house import HERE, ROOT, SERVICES, is_committed

from phi_common.service import Service, create_app
from phi_common.settings import CommonSettings, Shared

SNAPSHOTS = HERE / "openapi"
NOWHERE = Shared(
    ca_file=ROOT / "none.pem", kafka="", vault="", postgres="", issuer="", roles_file=ROOT / "deploy" / "roles.toml"
)
"""Nothing is connected to while a document is made."""


def document(service: Service) -> str:
    found = create_app(service, CommonSettings(), NOWHERE).openapi()
    return json.dumps(found, indent=2) + "\n"


@pytest.mark.parametrize("member", SERVICES, ids=lambda member: member.name)
def test_the_document_is_the_committed_one(member):
    service = importlib.import_module(f"{member.package}.main").SERVICE
    is_committed(SNAPSHOTS / f"{member.name}.json", document(service))


@pytest.mark.parametrize("member", SERVICES, ids=lambda member: member.name)
def test_the_readme_leads_to_it(member):
    assert f"(../../tests/contract/openapi/{member.name}.json)" in (member.folder / "README.md").read_text()


def test_no_document_is_left_of_a_service_that_is_gone():
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == {member.name for member in SERVICES}


@pytest.mark.parametrize("member", SERVICES, ids=lambda member: member.name)
def test_every_changing_request_can_be_repeated_safely(member):
    """By an Idempotency-Key, or by naming what is changed in path or body."""
    paths = json.loads((SNAPSHOTS / f"{member.name}.json").read_text())["paths"]
    named_otherwise = {"/permits", "/permits/{permit_id}/close", "/webhooks/sms/inbound", "/webhooks/sms/status"}
    for path, methods in paths.items():
        for method, operation in methods.items():
            if method != "get" and path not in named_otherwise:
                required = {each["name"] for each in operation["parameters"] if each["required"]}
                assert "idempotency-key" in required, f"{method} {path}"
