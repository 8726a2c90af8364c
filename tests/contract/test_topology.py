"""The event map: one writer for each topic, readers that read, one topic for each type; and the page that shows it."""

import ast
import importlib

import pytest
from house import ROOT, SERVICES, events, is_committed, sources_of

from phi_common.events.patients import PatientErased
from phi_common.topics import TOPICS

PAGE = ROOT / "docs" / "events.md"
HEAD = """# The event map

Made from `phi_common.topics` and `phi_common.events` by `UPDATE_SNAPSHOTS=1 ./careloop test tests/contract`.
The same for tools, with every field and header: [AsyncAPI 3](asyncapi.json). The key of every record is the patient's
id, a random UUID. To read a topic from outside: [subscribe.md](subscribe.md).

| Topic | Written by | Read by |
|---|---|---|
"""

NAMES = {service.name for service in SERVICES}


def page():
    rows = [
        f"| `{topic.name}` | {topic.writer} | {', '.join(topic.readers) or 'outside subscribers'} |\n"
        for topic in TOPICS.values()
    ]
    kinds = [
        f"| `{kind}` | `{found.topic}` | {(found.__doc__ or '').splitlines()[0]} |\n"
        for kind, found in events().items()
    ]
    return HEAD + "".join(rows) + "\n| Event | Topic | Meaning |\n|---|---|---|\n" + "".join(kinds)


def subscriptions(service):
    return importlib.import_module(f"{service.package}.main").SERVICE.subscriptions


def test_a_topic_has_one_writer_and_readers_that_exist():
    for topic in TOPICS.values():
        assert topic.writer in NAMES
        assert set(topic.readers) <= NAMES - {topic.writer}


def test_every_type_is_on_a_known_topic_and_every_topic_has_a_type():
    assert {found.topic for found in events().values()} == set(TOPICS)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_subscribes_to_what_the_table_lets_it_read(service):
    allowed = {topic.name for topic in TOPICS.values() if service.name in topic.readers}
    assert {found.topic for found in subscriptions(service)} == allowed
    for found in subscriptions(service):
        assert found.classes, f"{service.name} reads {found.topic} and takes nothing from it"
        assert {kind.topic for kind in found.classes.values()} == {found.topic}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_service_with_keys_of_patients_follows_their_erasure(service):
    """All have `patient_keys`; the writer of the event erases where it is asked to."""
    if TOPICS[PatientErased.topic].writer != service.name:
        assert [found.topic for found in subscriptions(service) if found.erase] == [PatientErased.topic]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_makes_events_of_its_own_topics_only(service):
    ours = {found.__name__: found for found in events().values()}
    for source in sources_of(service):
        for node in ast.walk(source.tree):
            made = ours.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if made:
                assert TOPICS[made.topic].writer == service.name, f"{source}:{node.lineno} makes {made.__name__}"


def test_the_page_shows_the_map():
    is_committed(PAGE, page())
