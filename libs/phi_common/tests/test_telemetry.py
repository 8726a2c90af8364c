"""Only what is on a list reaches a log line or a span, and a trace keeps its identity across the system."""

import io
import json
import logging
import subprocess
import sys

import pytest

from phi_common import telemetry
from phi_common.telemetry import current_traceparent, log, new_traceparent, sampled, span

GOOD = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNSAMPLED = GOOD[:-1] + "0"


@pytest.fixture
def lines(monkeypatch):
    """What was logged, as parsed lines."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    telemetry.configure_logging("test")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def spans(tmp_path):
    """What was recorded, as parsed lines, with every new trace sampled."""
    telemetry.configure_tracing("test", 1.0, tmp_path)

    def read():
        telemetry.flush_tracing()
        return [json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()]

    yield read
    telemetry.configure_tracing("test")


def test_only_listed_fields_of_plain_values_are_logged(lines):
    log.info("accepted", topic="careloop.x", name="Ann", status={"name": "Ann"}, count=3)
    [line] = lines()
    assert {"event": "accepted", "topic": "careloop.x", "count": 3, "service": "test"}.items() <= line.items()
    assert "Ann" not in json.dumps(line)


def test_an_exception_is_its_type_and_place(lines):
    try:
        raise ValueError("Ann Smith")
    except ValueError as error:
        log.error("failed", error=error)
        logging.getLogger("somebody").exception("Ann %s", "Smith")
        logging.getLogger("somebody").error("Ann Smith")
    found = lines()
    assert found[0]["error_type"] == "builtins.ValueError"
    assert "test_telemetry.py" in found[0]["error_at"]
    assert found[1]["template"] == "Ann %s"
    assert "Smith" not in json.dumps(found)


def test_libraries_are_quiet_below_warning(lines):
    for name in ("aiokafka.consumer", "sqlalchemy.engine", "faststream.access.kafka", "uvicorn.error"):
        logging.getLogger(name).info("Ann")
    logging.getLogger("uvicorn.access").warning("GET /patients?name=%s", "Ann")
    assert lines() == []


def test_log_lines_name_the_trace_in_hand(lines):
    with span("work", UNSAMPLED):
        log.info("inside")
    assert lines()[0]["trace_id"] == "a" * 32


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        GOOD + "0",
        GOOD.upper(),
        "01" + GOOD[2:],
        "00-" + "0" * 32 + GOOD[35:],
        GOOD[:36] + "0" * 16 + "-01",
    ],
)
def test_a_bad_traceparent_is_replaced(bad):
    assert new_traceparent(bad) != bad
    assert telemetry.is_traceparent(new_traceparent(bad))
    assert not sampled(bad)


def test_a_good_traceparent_travels_unchanged():
    assert new_traceparent(GOOD) == GOOD
    assert new_traceparent(UNSAMPLED) == UNSAMPLED


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.0, 0, 0), (0.5, 800, 1200), (1.0, 2000, 2000)])
def test_new_traces_are_sampled_by_the_ratio(ratio, low, high):
    telemetry.configure_tracing("test", ratio)
    assert low <= sum(sampled(new_traceparent()) for _ in range(2000)) <= high
    telemetry.configure_tracing("test")


def test_a_span_has_its_parent_its_links_and_only_listed_attributes(spans):
    with span("accept", GOOD, topic="careloop.x", person="Ann") as recorded:
        recorded.note(count=2, mrn="123")
        inside = current_traceparent()
        with span("store"):
            assert current_traceparent() != inside
        with span("batch", links=[GOOD, UNSAMPLED]):
            assert current_traceparent()[:35] != inside[:35]
    assert current_traceparent() is None
    found = {line["name"]: line for line in spans()}
    assert found["accept"]["parent"] == "b" * 16
    assert found["accept"]["trace_id"] == found["store"]["trace_id"] == "a" * 32
    assert found["store"]["parent"] == found["accept"]["span_id"]
    assert found["accept"]["attributes"] == {
        "messaging.destination.name": "careloop.x",
        "messaging.batch.message_count": 2,
    }
    assert found["batch"]["links"] == ["a" * 32 + "-" + "b" * 16]
    assert found["accept"]["end"] > found["accept"]["start"]


def test_a_failed_span_says_the_type_of_the_error_only(spans):
    with pytest.raises(ValueError, match="Ann"), span("work", GOOD):
        raise ValueError("Ann Smith")
    [found] = spans()
    assert found["attributes"] == {"error.type": "ValueError"}


def test_an_unsampled_trace_is_not_recorded_but_carried(spans):
    with span("work", UNSAMPLED) as recorded:
        recorded.note(count=1)
        assert current_traceparent() == UNSAMPLED
        with span("inner"):
            assert current_traceparent() == UNSAMPLED
    assert spans() == []


def test_the_sdk_is_not_loaded_before_a_span_is_recorded():
    code = (
        "import sys; from phi_common.telemetry import *; configure_tracing('x', 1.0)\n"
        "with span('a'): pass\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
