"""Errors on HTTP as RFC 9457 problem+json. An answer says where a request was wrong, not what it held."""

import secrets
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from phi_common.telemetry import log

MEDIA_TYPE = "application/problem+json"
(FRAMEWORK_ERROR,) = HTTPException.__bases__
"""What the framework raises too, where no route or method fits."""


class Problem(Exception):
    """A refusal with a reason that the caller may read. Extra members go into the body as they are."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        headers: dict[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(f"{status} {title}")
        self.status, self.title, self.detail, self.headers, self.extra = status, title, detail, headers, extra

    def response(self) -> JSONResponse:
        """The answer as it goes on the wire."""
        body: dict[str, object] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        return JSONResponse(body | self.extra, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(FRAMEWORK_ERROR, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Where the request is wrong, and by which rule. Pydantic's messages can quote the request: left out."""
    assert isinstance(error, RequestValidationError)
    errors = [{"location": _location(found["type"], found["loc"]), "rule": found["type"]} for found in error.errors()]
    return Problem(422, "Request is not valid", errors=errors).response()


def _location(rule: str, parts: Sequence[int | str]) -> list[int | str]:
    """Names from our schema. The name of a member that we did not ask for is the caller's: left out."""
    return [*parts[:-1], "?"] if rule == "extra_forbidden" else list(parts)


async def _http(_: Request, error: Exception) -> JSONResponse:
    status, headers = int(getattr(error, "status_code", 500)), getattr(error, "headers", None)
    return Problem(status, HTTPStatus(status).phrase, headers=headers and dict(headers)).response()


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """An opaque id that the log has too, with the type and the place of the error but not its text."""
    error_id = secrets.token_hex(8)
    log.error("request_failed", error_id=error_id, method=request.method, error=error)
    return Problem(500, "Internal error", error_id=error_id).response()
