"""AES-256-GCM with bound context, and keyed digests for looking values up without storing them."""

import hmac
import os
import threading

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
PAGE = 8192


class _Random(threading.local):
    """Bytes of the system's generator, fetched a page at a time for each thread: a system call per 500 nonces.

    No byte is given twice: threads have pages of their own, and a forked child starts with an empty one.
    """

    def __init__(self) -> None:
        self._page, self._at = b"", 0

    def __call__(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._page):
            self._page, start, self._at = os.urandom(max(PAGE, count)), 0, count
        return self._page[start : self._at]


random_bytes = _Random()
os.register_at_fork(after_in_child=random_bytes.__init__)  # type: ignore[misc]


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
