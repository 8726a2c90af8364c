"""AES-256-GCM with bound context, and keyed digests for looking values up without storing them."""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from phi_common.entropy import random_bytes

NONCE = 12


class Undecryptable(Exception):
    """The key is another one, or the bytes or their context were changed. Says nothing more on purpose."""


def seal(key: AESGCM, plain: bytes, context: bytes) -> bytes:
    """Nonce and ciphertext; `context` is authenticated and must be given again to open."""
    nonce = random_bytes(NONCE)
    return nonce + key.encrypt(nonce, plain, context)


def unseal(key: AESGCM, sealed: bytes, context: bytes) -> bytes:
    """The plain bytes, or `Undecryptable`."""
    try:
        return key.decrypt(sealed[:NONCE], sealed[NONCE:], context)
    except (InvalidTag, ValueError):
        raise Undecryptable from None


class BlindIndex:
    """HMAC-SHA-256 of low-entropy identifiers under a key of the service that needs the look-up."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def digest(self, kind: str, value: str) -> bytes:
        """The look-up value of, say, a phone number; different kinds never collide."""
        return hmac.digest(self._key, f"{kind}\0{value}".encode(), "sha256")
