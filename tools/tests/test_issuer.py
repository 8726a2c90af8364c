"""Tokens of the development issuer are what the services' own reader accepts."""

import json
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from careloop.issuer import TokenMaker, create_app, signing_key
from phi_common.auth import Authenticator
from phi_common.problem import Problem

ISSUER = "https://127.0.0.1:1"


@pytest.fixture
def maker(tmp_path):
    return TokenMaker(ISSUER, tmp_path / "key")


@pytest.fixture
def reader(maker, tmp_path, monkeypatch):
    roles = tmp_path / "roles.toml"
    roles.write_text('[clinician]\npermissions = ["gaps:read"]\n[patient]\npermissions = ["gaps:read"]\n')
    with TestClient(create_app(ISSUER, signing_key(tmp_path / "key"))) as http:
        keys = http.get("/jwks.json").json()
        assert http.get("/.well-known/openid-configuration").json()["jwks_uri"] == f"{ISSUER}/jwks.json"
    assert '"d"' not in json.dumps(keys)
    found = Authenticator(ISSUER, "careloop", "unused", roles)
    monkeypatch.setattr(found, "_download", lambda: keys)
    return found


async def test_roles_become_permissions(maker, reader):
    principal = await reader.principal(maker.token(["clinician"], "ann"))
    assert principal.subject == "ann"
    assert principal.permissions == {"gaps:read"}


async def test_a_patient_is_held_to_one_record(maker, reader):
    patient = uuid4()
    principal = await reader.principal(maker.token(["patient"], "p", str(patient)))
    assert principal.patient_id == patient


@pytest.mark.parametrize("claim", [{"aud": "other"}, {"iss": "https://other"}, {"exp": 1}], ids=str)
async def test_other_tokens_are_refused(maker, reader, claim):
    with pytest.raises(Problem):
        await reader.principal(maker.token(["clinician"], "ann", **claim))
