"""What principals may do follows from the event map and from nothing else."""

import pytest

from careloop.openbao import policy, reader_policy
from careloop.paths import GATE, Program, programs
from careloop.topics import acls, reader_acls
from phi_common.topics import CLINICAL_FACTS, GAPS, TOPICS

SERVICES = [program for program in programs() if program.name != GATE]


@pytest.mark.parametrize("program", SERVICES, ids=lambda program: program.name)
def test_a_service_wraps_for_what_it_writes_and_unwraps_what_it_reads(program):
    rules = policy(program)
    for topic in TOPICS.values():
        assert (f'"transit/datakey/plaintext/{topic.key}"' in rules) == (topic.writer == program.name)
        assert (f'"transit/decrypt/{topic.key}"' in rules) == (program.name in topic.readers)


@pytest.mark.parametrize("program", SERVICES, ids=lambda program: program.name)
def test_a_service_reaches_no_key_and_no_password_of_another(program):
    rules = policy(program)
    for other in SERVICES:
        mine = other == program
        for what in (f"bucket-{other.name}", f"index-{other.name}", f"kv/data/db/{other.name}", f"kafka/{other.name}"):
            assert (f'{what}"' in rules) == mine, what


def test_only_the_gate_reads_provider_credentials():
    assert [program.name for program in programs() if "provider/" in policy(program)] == [GATE]


def test_the_gate_opens_nothing_from_the_bus():
    rules = policy(Program(GATE, "outreach", "gate"))
    assert "topic-" not in rules
    assert "kafka/" not in rules


def test_acls_are_the_event_map():
    found = set(acls(TOPICS.values()))
    writers = {(name, who) for kind, name, who, what in found if kind == "topic" and what == "write"}
    readers = {(name, who) for kind, name, who, what in found if kind == "topic" and what == "read"}
    assert writers == {(topic.name, topic.writer) for topic in TOPICS.values()}
    assert readers == {(topic.name, reader) for topic in TOPICS.values() for reader in topic.readers}


def test_a_group_is_named_like_its_reader():
    assert all(name == who for kind, name, who, _ in acls(TOPICS.values()) if kind == "group")


def test_a_subscriber_gets_the_topics_it_was_given():
    rules = reader_policy("subscriber-app", [GAPS])
    assert TOPICS[GAPS].key in rules
    assert TOPICS[CLINICAL_FACTS].key not in rules
    assert {name for kind, name, *_ in reader_acls("subscriber-app", [GAPS]) if kind == "topic"} == {GAPS}
