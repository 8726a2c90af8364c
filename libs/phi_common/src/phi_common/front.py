"""The busy routes, answered before FastAPI's middle layers, which take a third of such a request."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

Endpoint = Callable[[Request], Awaitable[Response]]
Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]


def plain_routes(router: Any) -> dict[tuple[str, str], Endpoint]:
    """Endpoint by method and path of routes that take a raw `Request`, and that turn every error into a response."""
    plain = (route for route in router.routes if not isinstance(route, APIRoute) and "{" not in route.path)
    return {(method, route.path): route.endpoint for route in plain for method in route.methods or ()}


class Front:
    """An ASGI application before `app`; what is not a plain route goes through."""

    def __init__(self, app: FastAPI, routes: dict[tuple[str, str], Endpoint]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
