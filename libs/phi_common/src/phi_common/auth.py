"""Who is asking, and what they may: OIDC access tokens, roles from a file, permissions beside their routes.

This module knows tokens, not words: a permission means what the route that asks for it says.
"""

import asyncio
import base64
import hashlib
import json
import ssl
import time
import tomllib
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from fastapi import Request

from phi_common.problem import Problem
from phi_common.telemetry import log

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ["RS256", "ES256"]
KEY_TYPES = ("RSA", "EC")
OWN_RECORD_ROLES = frozenset({"patient", "proxy"})
LEEWAY_SECONDS = 10
CACHED_TOKENS = 10_000
KEYS_AGE_SECONDS = 3600.0
KEYS_PAUSE_SECONDS = 10.0
FIRST_KEYS_PAUSE_SECONDS = 0.5
TIMEOUT = 2.0
LONGEST_TOKEN = 8192

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Principal:
    """A person or program whose token was verified. With a `patient_id`, it reaches that patient alone."""

    subject: str
    roles: frozenset[str]
    permissions: frozenset[str]
    patient_id: UUID | None = None

    def require(self, permission: str) -> None:
        """Refuse with 403 without this permission."""
        if permission not in self.permissions:
            raise forbidden()

    def may_see(self, patient_id: UUID) -> bool:
        """Whether this patient's data is within reach at all; permissions say which of it."""
        return self.patient_id is None or self.patient_id == patient_id

    def require_patient(self, patient_id: UUID) -> None:
        """Refuse with 403 what is not this principal's own record."""
        if not self.may_see(patient_id):
            raise forbidden()


def unauthorized() -> Problem:
    """401, with no word on what was wrong with the token."""
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Problem(401, "A valid access token is needed", headers=headers)


def forbidden() -> Problem:
    """403, the same for a missing permission and for somebody else's record."""
    return Problem(403, "Not permitted")


def roles_from(path: Path) -> dict[str, frozenset[str]]:
    """Role -> permissions, from the deployment's file."""
    with path.open("rb") as file:
        return {role: frozenset(granted["permissions"]) for role, granted in tomllib.load(file).items()}


class Authenticator:
    """Verifies access tokens of one issuer for one audience.

    Keys are fetched on first use and when a new one appears.
    """

    def __init__(self, issuer: str, audience: str, ca_file: Path | str, roles_file: Path) -> None:
        self._issuer, self._audience, self._ca_file = issuer, audience, str(ca_file)
        self._roles = roles_from(roles_file)
        self._keys: KeySet | None = None
        self._fetched = self._asked = float("-inf")
        self._fetching = asyncio.Lock()
        self._verified: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def principal(self, token: str) -> Principal:
        """The principal behind a token, or 401; 503 when the issuer's keys cannot be had."""
        if len(token) > LONGEST_TOKEN:
            raise unauthorized()
        digest = hashlib.sha256(token.encode()).digest()
        if cached := self._verified.get(digest):
            if cached[0] > time.time():
                return cached[1]
            del self._verified[digest]
        claims = await self._claims(token)
        principal = self._principal_of(claims)
        self._verified[digest] = (float(claims["exp"]), principal)
        if len(self._verified) > CACHED_TOKENS:
            self._verified.popitem(last=False)
        return principal

    async def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature, times, issuer and audience hold."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        keys = await self._keys_for(_key_id(token))
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
            registry.validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError):
            raise unauthorized() from None
        return decoded.claims

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        """A role that the file does not know grants nothing. Who is a patient by any role is held to that."""
        named = claims.get("roles")
        roles = frozenset(role for role in named if isinstance(role, str)) if isinstance(named, list) else _NONE
        granted = _NONE.union(*(self._roles.get(role, _NONE) for role in roles))
        patient_id = None
        if roles & OWN_RECORD_ROLES or "patient_id" in claims:
            try:
                patient_id = UUID(str(claims["patient_id"]))
            except (KeyError, ValueError):
                raise unauthorized() from None
        return Principal(str(claims["sub"]), roles, granted, patient_id)

    async def _keys_for(self, key_id: str | None) -> "KeySet":
        """The issuer's keys, asked for again when this id is not among them, but not at a stranger's pace."""
        if self._current(key_id):
            return self._keys  # type: ignore[return-value]
        async with self._fetching:
            pause = KEYS_PAUSE_SECONDS if self._keys else FIRST_KEYS_PAUSE_SECONDS
            if not self._current(key_id) and time.monotonic() - self._asked > pause:
                self._asked = time.monotonic()
                await self._fetch()
        if self._keys is None:
            _issuer_is_away()
        return self._keys

    def _current(self, key_id: str | None) -> bool:
        if self._keys is None or time.monotonic() - self._fetched > KEYS_AGE_SECONDS:
            return False
        return key_id is None or any(key.kid == key_id for key in self._keys.keys)

    async def _fetch(self) -> None:
        """Replace the keys; when the issuer does not answer, the old ones stay in use."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            found = await asyncio.to_thread(self._download)
            signing = [key for key in found["keys"] if key.get("use", "sig") == "sig"]
            self._keys = KeySet.import_key_set({"keys": [key for key in signing if key.get("kty") in KEY_TYPES]})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
            log.warning("issuer_keys_not_had", error=error)
            return
        self._fetched = time.monotonic()

    def _download(self) -> dict[str, Any]:
        """The key set that the issuer's discovery document names."""
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self._ca_file))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)

        def load(url: str) -> dict[str, Any]:
            if not url.startswith("https://"):
                raise ValueError("keys come over https only")
            with opener.open(url, timeout=TIMEOUT) as answer:
                document: dict[str, Any] = json.loads(answer.read(1 << 20))
            return document

        found = load(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if found["issuer"] != self._issuer:
            raise ValueError("another issuer answers here")
        return load(found["jwks_uri"])


def _issuer_is_away() -> NoReturn:
    raise Problem(503, "The token issuer does not answer", headers={"Retry-After": "2"})


def _key_id(token: str) -> str | None:
    """The key id that an unverified header names; other algorithms than ours are refused here."""
    try:
        first, _, _ = token.split(".")
        header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
        algorithm, key_id = header["alg"], header.get("kid")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise unauthorized() from None
    if algorithm not in ALGORITHMS:
        raise unauthorized()
    return key_id if isinstance(key_id, str) else None


async def authenticate(request: Request) -> Principal:
    """The principal of a request's bearer token, by the application's authenticator."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(401, "A valid access token is needed", headers={"WWW-Authenticate": "Bearer"})
    authenticator: Authenticator = request.app.state.authenticator
    return await authenticator.principal(token.strip())


class Requirement:
    """A FastAPI dependency: the request's principal, who has `permission`. The build reads the attribute."""

    def __init__(self, permission: str) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        """The principal, or 401 or 403."""
        principal = await authenticate(request)
        principal.require(self.permission)
        return principal


def requires(permission: str) -> Requirement:
    """For a route: `principal: Annotated[Principal, Depends(requires(READ))]`."""
    return Requirement(permission)
