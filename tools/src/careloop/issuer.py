"""A development OpenID issuer: it publishes the key with which the launcher signs tokens. It has no users."""

import os
import time
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey

from careloop.paths import write_secret

AUDIENCE = "careloop"
ALGORITHM = "ES256"


class TokenMaker:
    """Signs access tokens with the issuer's key."""

    def __init__(self, issuer: str, key_file: Path) -> None:
        """Read the key, or make it when the run has none yet."""
        self.issuer = issuer
        if not key_file.exists():
            fresh = ECKey.generate_key("P-256", private=True)
            write_secret(key_file, fresh.as_pem(private=True).decode())
        self._key = signing_key(key_file)

    def token(
        self, roles: list[str], subject: str, patient_id: str | None = None, seconds: int = 8 * 3600, **more: Any
    ) -> str:
        """An access token; `more` claims replace ours, so that tests can make bad ones."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": AUDIENCE, "sub": subject, "roles": roles, "iat": now, "exp": now + seconds}
        if patient_id:
            claims["patient_id"] = patient_id
        header = {"alg": ALGORITHM, "kid": self._key.kid}
        return jwt.encode(header, {**claims, **more}, self._key, algorithms=[ALGORITHM])


def signing_key(key_file: Path) -> ECKey:
    """The key in a PEM file, named by its thumbprint."""
    key = ECKey.import_key(key_file.read_text())
    key.ensure_kid()
    return key


def create_app(issuer: str, key: ECKey) -> FastAPI:
    """The two documents that a reader of tokens asks for."""
    app = FastAPI(title="Development issuer", openapi_url=None)
    public = {**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM}

    @app.get("/.well-known/openid-configuration")
    async def configuration() -> dict[str, Any]:
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/jwks.json",
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        }

    @app.get("/jwks.json")
    async def keys() -> dict[str, Any]:
        return {"keys": [public]}

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def main() -> None:
    """Serve until ended."""
    host, _, port = os.environ["ISSUER_LISTEN"].partition(":")
    app = create_app(f"https://{host}:{port}", signing_key(Path(os.environ["ISSUER_KEY_FILE"])))
    certificate, private_key = os.environ["ISSUER_TLS_CERT_FILE"], os.environ["ISSUER_TLS_KEY_FILE"]
    uvicorn.run(app, host=host, port=int(port), log_level="warning", ssl_certfile=certificate, ssl_keyfile=private_key)


if __name__ == "__main__":
    main()
