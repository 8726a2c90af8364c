"""Loads a schedule: the compact JSON form, or the official ZIP of XML; anything wrong in it refuses all of it."""

import json
from collections.abc import Iterable
from datetime import date
from typing import Any, TypeVar

import msgspec

from care_gap_engine.domain.vaccines import build, build_tables, supporting_data
from care_gap_engine.domain.vaccines.errors import ScheduleError, at
from care_gap_engine.domain.vaccines.form import AntigenForm, Head
from care_gap_engine.domain.vaccines.form_tables import Tables
from care_gap_engine.domain.vaccines.model import Antigen, Publication, Schedule

UNSTATED = "not stated in the file; ask its publisher"
PARTS = ("antigens", "schedule")
T = TypeVar("T")


def load_schedule(name: str, content: bytes) -> Schedule:
    """The schedule that a file holds, whole; `name` stands in errors.

    Raises `ScheduleError` with the file and the element when the file is broken, partial, contradicts itself or holds
    an element that this version does not know.
    """
    with at(name):
        tree = supporting_data.read_zip(content) if supporting_data.is_zip(content) else _read_json(content)
        return _schedule(tree)


def _read_json(content: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        raise ScheduleError("neither JSON nor a ZIP file, or cut off") from None
    if not isinstance(tree, dict):
        raise ScheduleError("not a JSON object")
    tree.pop("lists", None)
    return tree


def _schedule(tree: dict[str, Any]) -> Schedule:
    for part in PARTS:
        if not isinstance(tree.get(part), dict) or not tree[part]:
            raise ScheduleError(f"{part}: missing")
    head = typed(Head, {key: value for key, value in tree.items() if key not in PARTS}, "head")
    tables = typed(Tables, tree["schedule"], "schedule")
    antigens = {
        name: _antigen(name, typed(AntigenForm, found, f"antigens.{name}"))
        for name, found in tree["antigens"].items()
    }  # fmt: skip
    with at("schedule"):
        schedule = Schedule(
            publication=_publication(head),
            antigens=antigens,
            groups=build_tables.vaccine_groups(tables),
            products=build_tables.products(tables, antigens.values()),
            conflicts=build_tables.conflicts(tables),
            observations=build_tables.observations(tables),
        )
    for place, flaw in flaws(schedule):
        raise ScheduleError(f"{place}: {flaw}")
    return schedule


def typed(kind: type[T], found: object, place: str) -> T:
    """`found` as a form; raises `ScheduleError` with the place of what does not fit."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as wrong:
        raise ScheduleError(f"{place}: {wrong}") from None


def _antigen(name: str, form: AntigenForm) -> Antigen:
    with at(f"antigens.{name}"):
        return build.antigen(name, form)


def _publication(head: Head) -> Publication:
    with at("head"):
        until = head.effective_until
        return Publication(
            publisher=head.publisher or head.source,
            version=head.version,
            effective_from=date.fromisoformat(head.effective_from or head.published),
            effective_until=date.fromisoformat(until) if until else None,
            licence=head.licence or UNSTATED,
            source=head.source,
        )


def flaws(schedule: Schedule) -> Iterable[tuple[str, str]]:
    """Where the parts of a schedule do not fit together: the place, and what is wrong."""
    grouped = {name: group.name for group in schedule.groups for name in group.antigens}
    for name in grouped.keys() - schedule.antigens.keys():
        yield f"antigens.{name}", "missing, but a vaccine group names it"
    for name, antigen in schedule.antigens.items():
        if name not in grouped:
            yield f"schedule.vaccineGroupToAntigenMap: {name}", "missing, but there is an antigen of this name"
        for series in antigen.series:
            place = f"antigens.{name}.series {series.name!r}"
            if series.antigen != name:
                yield place, f"its targetDisease is {series.antigen!r}"
            if series.vaccine_group != grouped[name]:
                yield place, f"its vaccineGroup is {series.vaccine_group!r}, the map says {grouped[name]!r}"
            for number, target in enumerate(series.targets, 1):
                if target.number != number:
                    yield place, f"seriesDose {number} calls itself dose {target.number}"
                for cvx in (*(vaccine.cvx for vaccine in target.preferable), *target.allowable):
                    if cvx not in schedule.products:
                        yield place, f"CVX {cvx} of dose {number} is not in cvxToAntigenMap"
    for product in schedule.products.values():
        for association in product.associations:
            if association.antigen not in schedule.antigens:
                yield f"schedule.cvxToAntigenMap: CVX {product.cvx}", f"no antigen {association.antigen!r}"
