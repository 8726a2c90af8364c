"""The SMS provider's HTTP API. One call for a message; of an unknown outcome one may ask, never blindly repeat.

A request says until when the provider may accept it. The provider must refuse it later, also when it was long on the
way: it is the fence that no clock, pause or network of ours can get past.
"""

import asyncio
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

import httpx2

from outreach.gate.fence import Fence, TooLate
from outreach.gate.permits import Permit

TIMEOUT = 3.0
CONNECT_TIMEOUT = 1.5
"""Shorter than the whole: who only accepts connections is told from who may have the message."""


@dataclass(frozen=True)
class Sent:
    """The provider took the message."""

    provider_id: str


@dataclass(frozen=True)
class Rejected:
    """The provider refused it: it did not go out."""


@dataclass(frozen=True)
class Untouched:
    """Nothing left this machine, or it came too late to be accepted: it did not go out and never will."""


@dataclass(frozen=True)
class Unknown:
    """It may have gone out."""


Outcome = Sent | Rejected | Untouched | Unknown


class ProviderUnavailable(Exception):
    """A question about a message was not answered."""


class SmsProvider:
    """An account at the provider."""

    def __init__(self, url: str, trust: ssl.SSLContext, account: str, token: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url,
            verify=trust,
            auth=httpx2.BasicAuth(account, token),
            trust_env=False,
            transport=httpx2.AsyncHTTPTransport(verify=trust, retries=0, trust_env=False),
            timeout=httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
        )

    async def send(self, message_id: UUID, to: str, body: str, permit: Permit) -> Outcome:
        """One call within the life of the permit. The message id is our tag at the provider."""
        asked = {"to": to, "body": body, "tag": str(message_id), "expire_at": permit.expire_at.isoformat()}
        with ExitStack() as armed:
            fence = Fence(permit, armed)
            try:
                async with asyncio.timeout(min(permit.rest(), TIMEOUT)):
                    answer = await self._http.post("/messages", json=asked, extensions={"trace": fence.trace})
            except (TooLate, httpx2.HTTPError, TimeoutError):
                return Unknown() if fence.passed else Untouched()
        if answer.is_success:
            return Sent(_id(answer))
        if answer.status_code == httpx2.codes.GONE:
            return Untouched()
        return Rejected() if answer.is_client_error else Unknown()

    async def find(self, message_id: UUID) -> Sent | None:
        """What the provider knows under our tag; None means that it never took the message."""
        try:
            answer = await self._http.get("/messages", params={"tag": str(message_id)})
            answer.raise_for_status()
            found = answer.json()["messages"]
            return Sent(str(found[0]["id"])) if found else None
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailable(type(error).__name__) from None

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()


def _id(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["id"])
    except (ValueError, KeyError, TypeError):
        return ""
