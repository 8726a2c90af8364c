"""Tokens: what is verified, what is refused, and that a patient reaches one record only."""

import json
import ssl
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated
from uuid import UUID, uuid4

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Depends, FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from phi_common import auth
from phi_common.auth import Authenticator, Principal, requires
from phi_common.clock import system_now
from phi_common.problem import Problem, install

ROLES = '[clinician]\npermissions = ["things:read"]\n[patient]\npermissions = ["things:read", "own:read"]\n'
PATIENT = UUID(int=7)


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    start = system_now() - timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = folder / "issuer.pem"
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*formats))
    return path


class Issuer:
    """An OIDC issuer on HTTPS, with keys that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "one"}), ECKey.generate_key("P-256", {"kid": "two"})]
        self.asked = 0
        self.certificate = self_signed(folder)
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                document = issuer.document(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def document(self, path: str) -> dict[str, object]:
        if path == "/keys":
            self.asked += 1
            return KeySet(self.keys).as_dict(private=False)
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    def token(self, key: RSAKey | ECKey | None = None, alg: str = "RS256", **claims: object) -> str:
        key = key or self.keys[0]
        known = {"iss": self.url, "aud": "careloop", "sub": "s1", "roles": ["clinician"]}
        known["exp"] = int(time.time()) + 60
        held = {name: value for name, value in (known | claims).items() if value is not None}
        return jwt.encode({"alg": alg, "kid": key.kid}, held, key)


@pytest.fixture
def issuer(tmp_path):
    found = Issuer(tmp_path)
    yield found
    found.server.shutdown()


@pytest.fixture
def authenticator(issuer, tmp_path):
    roles = tmp_path / "roles.toml"
    roles.write_text(ROLES)
    return Authenticator(issuer.url, "careloop", issuer.certificate, roles)


async def test_a_good_token_gives_subject_roles_and_permissions(issuer, authenticator):
    found = await authenticator.principal(issuer.token())
    assert found == Principal("s1", frozenset({"clinician"}), frozenset({"things:read"}))


async def test_es256_is_taken_too_and_keys_are_fetched_once(issuer, authenticator):
    await authenticator.principal(issuer.token(issuer.keys[1], "ES256"))
    await authenticator.principal(issuer.token())
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 9_999_999_999},
        {"iss": "https://elsewhere"},
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"roles": ["patient"]},
        {"roles": ["patient"], "patient_id": "P1"},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_refused(issuer, authenticator, claims):
    with pytest.raises(Problem) as refused:
        await authenticator.principal(issuer.token(**claims))
    assert refused.value.status == 401


async def test_a_foreign_or_symmetric_or_missing_signature_is_refused(issuer, authenticator):
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    unsigned = issuer.token().rsplit(".", 1)[0] + "."
    body = issuer.token().split(".")[1]
    none = "eyJhbGciOiJub25lIn0." + body + "."
    secret = OctKey.generate_key(256, {"kid": "one"})
    symmetric = jwt.encode({"alg": "HS256", "kid": "one"}, {"iss": issuer.url, "aud": "careloop"}, secret)
    for token in (issuer.token(stranger), unsigned, none, symmetric, "", "a.b.c", "x" * 9000, "e30.e30.e30"):
        with pytest.raises(Problem) as refused:
            await authenticator.principal(token)
        assert refused.value.status == 401


async def test_a_new_key_is_fetched_but_unknown_ids_do_not_hammer_the_issuer(issuer, authenticator, monkeypatch):
    await authenticator.principal(issuer.token())
    issuer.keys.append(RSAKey.generate_key(2048, {"kid": "three"}))
    with pytest.raises(Problem):
        await authenticator.principal(issuer.token(issuer.keys[-1]))
    assert issuer.asked == 1
    monkeypatch.setattr(auth, "KEYS_PAUSE_SECONDS", 0.0)
    assert (await authenticator.principal(issuer.token(issuer.keys[-1]))).subject == "s1"
    assert issuer.asked == 2


async def test_a_verified_token_is_remembered_until_it_expires(issuer, authenticator, monkeypatch):
    token = issuer.token()
    first = await authenticator.principal(token)
    assert await authenticator.principal(token) is first
    monkeypatch.setattr(auth.time, "time", lambda: 9_999_999_999.0)
    with pytest.raises(Problem):
        await authenticator.principal(token)


async def test_without_an_issuer_the_answer_is_503(issuer, tmp_path):
    (tmp_path / "roles.toml").write_text(ROLES)
    alone = Authenticator("https://127.0.0.1:1", "careloop", issuer.certificate, tmp_path / "roles.toml")
    with pytest.raises(Problem) as refused:
        await alone.principal(issuer.token())
    assert refused.value.status == 503


async def test_a_patient_reaches_one_record_only(issuer, authenticator):
    token = issuer.token(roles=["patient", "clinician"], patient_id=str(PATIENT))
    found = await authenticator.principal(token)
    assert found.may_see(PATIENT)
    assert not found.may_see(uuid4())
    with pytest.raises(Problem) as refused:
        found.require_patient(uuid4())
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 401), ("Basic abc", 401), ("Bearer nonsense", 401), ("Bearer {}", 200)],
)
async def test_a_route_asks_for_its_permission(issuer, authenticator, header, status):
    app = FastAPI()
    install(app)
    app.state = SimpleNamespace(authenticator=authenticator)

    @app.get("/things")
    async def things(principal: Annotated[Principal, Depends(requires("things:read"))]) -> str:
        return principal.subject

    @app.get("/own")
    async def own(principal: Annotated[Principal, Depends(requires("own:read"))]) -> str:
        return principal.subject

    headers = {"Authorization": header.format(issuer.token())} if header else {}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x") as client:
        answer = await client.get("/things", headers=headers)
        forbidden = await client.get("/own", headers=headers)
    assert answer.status_code == status
    assert forbidden.status_code == (403 if status == 200 else 401)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert requires("things:read").permission == "things:read"
