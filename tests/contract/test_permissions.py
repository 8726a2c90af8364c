"""Every route asks for a permission, every permission is asked for by a route and granted to somebody."""

import importlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from house import ROOT, SERVICES, Member

from phi_common.auth import roles_from
from phi_common.service import plumbing_routes

Route = Any
NOTHING = SimpleNamespace(dependencies=())
ROLES = roles_from(ROOT / "deploy" / "roles.toml")
OPEN = ("/livez", "/readyz", "/metrics", "/barrier", "/webhooks/")
"""Probes, and what outsiders call with a signature of their own."""


def routes(service: Member) -> list[Route]:
    """A route is anything with a path and an endpoint."""
    found = importlib.import_module(f"{service.package}.main").SERVICE
    return [*(found.router.routes if found.router else ()), *plumbing_routes(found).routes]


def permissions(dependant: Any) -> Iterator[str]:
    for inner in dependant.dependencies:
        if permission := getattr(inner.call, "permission", None):
            yield permission
        yield from permissions(inner)


def asked(route: Route) -> set[str]:
    """By the route's dependencies, or by the attribute of an endpoint that checks for itself."""
    own = getattr(route.endpoint, "permission", None)
    return {*permissions(getattr(route, "dependant", NOTHING)), *([own] if own else [])}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_route_asks_for_a_granted_permission(service):
    granted = frozenset().union(*ROLES.values())
    for route in routes(service):
        if not route.path.startswith(OPEN):
            assert asked(route), f"{service.name} {route.path} asks for no permission"
            assert asked(route) <= granted, f"{service.name} {route.path} asks for what nobody has"


def test_every_service_with_an_api_is_seen():
    assert all(routes(service) for service in SERVICES if (service.source / "api.py").exists())


def test_every_granted_permission_is_asked_for_somewhere():
    used = {permission for service in SERVICES for route in routes(service) for permission in asked(route)}
    assert frozenset().union(*ROLES.values()) == used


def test_patients_and_programs_cannot_do_what_staff_can():
    staff_only = {
        "fhir:search",
        "fhir:write",
        "outreach:read",
        "patients:erase",
        "permits:grant",
        "replies:read",
        "replies:resolve",
    }
    assert not (ROLES["patient"] | ROLES["proxy"]) & staff_only
    assert ROLES["service"] == {"permits:grant"}
    assert ROLES["admin"] == {"dead-letters:read", "dead-letters:redrive"}
    assert [role for role, has in ROLES.items() if "permits:grant" in has] == ["service"]
    assert [role for role, has in ROLES.items() if "patients:erase" in has] == ["privacy-officer"]
