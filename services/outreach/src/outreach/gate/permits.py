"""Asking consent for a permit, one per message; without a clear yes nothing is sent."""

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any
from uuid import UUID

import httpx2

from phi_common.clock import new_id, system_now
from phi_common.telemetry import current_traceparent, new_traceparent

LIFE = 5.0
"""No permit is used for longer than this, whatever the answer says."""
TIMEOUT = 2.0
CARE_GAP, OPTOUT_CONFIRM = "care-gap", "optout-confirm"
"""What consent is told a message is for."""


class PermitsUnavailable(Exception):
    """Consent gave no answer that counts: the message waits."""


@dataclass(frozen=True)
class Refusal:
    """Consent said no."""

    reason: str
    held: UUID | None = None
    """The permit that the message has already."""


@dataclass(frozen=True)
class Permit:
    """Leave to make one call before `deadline`, on a clock that runs on while the machine sleeps."""

    permit_id: UUID
    deadline: float
    expire_at: datetime
    """The same instant for the provider, who has a clock of its own."""

    def rest(self) -> float:
        """Seconds for which it can still be used."""
        return self.deadline - clock_gettime(CLOCK_BOOTTIME)


class Permits:
    """Consent's permit API, as this gate's service account."""

    def __init__(self, url: str, trust: ssl.SSLContext, token_file: Path) -> None:
        self._http = httpx2.AsyncClient(base_url=url, verify=trust, trust_env=False, timeout=TIMEOUT)
        self._token_file = token_file

    async def ask(
        self, message_id: UUID, patient_id: UUID, channel: str, address: str | None, optout_id: UUID | None = None
    ) -> Permit | Refusal:
        """A permit or a refusal. The stopwatch starts before the question: it ends early, never late."""
        started, at = clock_gettime(CLOCK_BOOTTIME), system_now()
        asked = {
            "message_id": str(message_id),
            "patient_ids": [str(patient_id)],
            "channel": channel,
            "address": address,
            "purpose": OPTOUT_CONFIRM if optout_id else CARE_GAP,
            "optout_id": optout_id and str(optout_id),
        }
        answer = await self._post("/permits", asked)
        try:
            body = answer.json()
            if answer.status_code == 201:
                life = min(body["expires_in_ms"] / 1000, LIFE)
                return Permit(UUID(body["id"]), started + life, at + timedelta(seconds=life))
            if answer.status_code in (403, 409):
                held = body.get("permit_id")
                return Refusal(body["reason"], held and UUID(held))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PermitsUnavailable("not an answer") from None
        raise PermitsUnavailable(str(answer.status_code))

    async def close(self, permit_id: UUID, outcome: str) -> bool:
        """Say that the permit is used up; if that is lost, consent waits until it has expired."""
        try:
            answer = await self._post(f"/permits/{permit_id}/close", {"outcome": outcome})
        except PermitsUnavailable:
            return False
        return answer.is_success

    async def _post(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}
            headers["traceparent"] = current_traceparent() or new_traceparent()
            return await self._http.post(path, json=body, headers=headers)
        except (OSError, httpx2.HTTPError) as error:
            raise PermitsUnavailable(type(error).__name__) from None

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()
