"""Keys and secrets from Vault or OpenBao. No word of a server's answer leaves this module in an error."""

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    import hvac

T = TypeVar("T")

THREADS = 4
TIMEOUT = 2.0
DEADLINE = 5.0
ATTEMPTS = 3
BREAKER_FAILURES = 5
BREAKER_SECONDS = 2.0

STATUS = {
    "InvalidRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "InvalidPath": 404,
    "RateLimitExceeded": 429,
    "InternalServerError": 500,
    "VaultNotInitialized": 501,
    "BadGateway": 502,
    "VaultDown": 503,
}


class VaultError(Exception):
    """What was asked, of which key or path, and the HTTP status if there was one. Nothing of the answer."""

    def __init__(self, operation: str, name: str, status: int | None = None) -> None:
        super().__init__(f"{operation} {name}: {status or 'no answer'}")
        self.operation, self.name, self.status = operation, name, status


class VaultUnavailable(VaultError):
    """Sealed, down, overloaded or too slow: the same call may succeed later."""


class Vault:
    """A logged-in client. Calls run in a few threads, since hvac is synchronous."""

    def __init__(self, address: str, ca_file: Path | str) -> None:
        self._address, self._ca_file = address, str(ca_file)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")
        self._client: hvac.Client | None = None
        self._lease = 0.0
        self._failures = 0
        self._closed_until = 0.0

    @classmethod
    async def login(cls, address: str, ca_file: Path | str, role_id: str, secret_id_file: Path) -> "Vault":
        """Unwrap the one-use secret-id, delete its file, log in.

        Status 400 on `unwrap` means that somebody has unwrapped it before us, or that it is too old.
        """
        vault = cls(address, ca_file)
        try:
            wrapping = await asyncio.to_thread(secret_id_file.read_text)
            secret_id = await vault._call("unwrap", "secret-id", lambda: vault._unwrap_secret_id(wrapping.strip()))
            await asyncio.to_thread(secret_id_file.unlink)
            vault._lease = await vault._call("login", "approle", lambda: vault._login(role_id, secret_id))
        except BaseException:
            vault.close()
            raise
        return vault

    async def data_key(self, name: str) -> tuple[bytes, bytes]:
        """A new 256-bit key, plain and wrapped by the Transit key `name`."""
        data = await self._call(
            "datakey", name, lambda: self._hvac.secrets.transit.generate_data_key(name, "plaintext")["data"]
        )
        return base64.b64decode(data["plaintext"]), data["ciphertext"].encode()

    async def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """The plain bytes that the Transit key `name` wrapped."""
        if not wrapped.isascii():
            raise VaultError("decrypt", name, 400)
        text = wrapped.decode("ascii")
        data = await self._call(
            "decrypt", name, lambda: self._hvac.secrets.transit.decrypt_data(name, ciphertext=text)["data"]
        )
        return base64.b64decode(data["plaintext"])

    async def secret(self, path: str) -> dict[str, str]:
        """The current values at `path` of the key-value mount."""
        kv = self._hvac.secrets.kv.v2
        found: dict[str, str] = await self._call(
            "read", path, lambda: kv.read_secret_version(path, None, "kv", True)["data"]["data"]
        )
        return found

    async def healthy(self) -> bool:
        """Whether the server is unsealed and still knows this token."""
        try:
            await self._call("lookup", "token", self._hvac.auth.token.lookup_self)
        except VaultError:
            return False
        return True

    async def renew(self) -> NoReturn:
        """Keep the periodic token alive for as long as this runs.

        Raises when the server no longer knows the token: secret-ids work once, so only a new start of the
        process can log in again.
        """
        wait = self._lease / 3
        while True:
            await asyncio.sleep(wait)
            try:
                self._lease = await self._call("renew", "token", self._renew)
                wait = self._lease / 3
            except VaultUnavailable:
                wait = min(BREAKER_SECONDS, self._lease / 3)

    def close(self) -> None:
        """Forget the token and end the threads; calls in flight finish by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client = None

    @property
    def _hvac(self) -> "hvac.Client":
        if self._client is None:
            raise VaultError("call", "before login")
        return self._client

    def _connect(self, token: str) -> "hvac.Client":
        import hvac

        client = hvac.Client(self._address, token, verify=self._ca_file, timeout=TIMEOUT, allow_redirects=False)
        client.session.trust_env = False
        return client

    def _unwrap_secret_id(self, wrapping: str) -> str:
        secret_id: str = self._connect(wrapping).sys.unwrap()["data"]["secret_id"]
        return secret_id

    def _login(self, role_id: str, secret_id: str) -> float:
        client = self._connect("")
        lease = client.auth.approle.login(role_id, secret_id)["auth"]["lease_duration"]
        self._client = client
        return float(lease)

    def _renew(self) -> float:
        return float(self._hvac.auth.token.renew_self()["auth"]["lease_duration"])

    async def _call(self, operation: str, name: str, work: Callable[[], T]) -> T:
        """Run `work` with a few tries and one deadline. What it raises is replaced, never chained."""
        if time.monotonic() < self._closed_until:
            raise VaultUnavailable(operation, name)
        started = time.monotonic()
        for attempt in range(ATTEMPTS):
            result, error = await self._try(work)
            if error is None:
                self._failures = 0
                return result  # type: ignore[return-value]
            failure, again = _failure(operation, name, error)
            del error
            spent = time.monotonic() - started
            if not again or attempt == ATTEMPTS - 1 or spent + TIMEOUT > DEADLINE:
                break
            await asyncio.sleep((0.05 + secrets.randbelow(100) / 1000) * 2**attempt)
        self._note(failure)
        raise failure from None

    async def _try(self, work: Callable[[], T]) -> tuple[T | None, Exception | None]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work), None
        except Exception as error:
            return None, error

    def _note(self, failure: VaultError) -> None:
        """Open the breaker after a run of failures, so that a dead server costs callers no time."""
        if not isinstance(failure, VaultUnavailable):
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= BREAKER_FAILURES:
            self._closed_until = time.monotonic() + BREAKER_SECONDS


def _failure(operation: str, name: str, error: Exception) -> tuple[VaultError, bool]:
    """Our error for one of hvac or of its transport, and whether another try is worth it."""
    if isinstance(error, VaultError):
        return error, False
    kind = type(error).__name__
    if isinstance(error, OSError):
        return VaultUnavailable(operation, name), kind != "ReadTimeout"
    status = STATUS.get(kind)
    if status is not None and (status == 429 or status >= 500):
        return VaultUnavailable(operation, name, status), status in (429, 503)
    return VaultError(operation, name, status), False
