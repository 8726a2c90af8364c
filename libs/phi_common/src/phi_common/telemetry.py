"""Traces that cannot carry PHI: unlisted attributes are left out, errors are recorded by type alone.

Logs come from here too: `log`, `configure_logging`.
"""

import atexit
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from phi_common.logs import Value, configure_logging, described, log, plain
from phi_common.logs import traceparent_in_hand as _current

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import Span, SpanContext, Tracer

__all__ = [
    "configure_logging",
    "configure_tracing",
    "current_traceparent",
    "described",
    "flush_tracing",
    "is_traceparent",
    "log",
    "new_traceparent",
    "sampled",
    "span",
]

ATTRIBUTES = {
    "topic": "messaging.destination.name",
    "partition": "messaging.destination.partition.id",
    "count": "messaging.batch.message_count",
    "event_id": "cloudevents.event_id",
    "event_type": "cloudevents.event_type",
    "route": "http.route",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "ack_code": "careloop.ack_code",
    "message_id": "careloop.message_id",
    "outcome": "careloop.outcome",
    "subscription": "careloop.subscription",
    "provider": "careloop.provider",
    "error_type": "error.type",
}


class Handle(Protocol):
    """What code inside a span may do with it."""

    def note(self, **attributes: object) -> None:
        """Add attributes; those outside the allow list are dropped."""


class _Tracing:
    """Where sampled spans go. The SDK is imported when the first one is made, not before."""

    def __init__(self) -> None:
        self.service, self.bound = "careloop", 0
        self.spans_dir: Path | None = None
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    def configure(self, service: str, ratio: float, spans_dir: Path | None) -> None:
        self.flush()
        self.service, self.bound, self.spans_dir = service, round(ratio * 2**64), spans_dir
        self._provider = self._tracer = None

    @property
    def recording(self) -> bool:
        return self.spans_dir is not None or bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))

    def tracer(self) -> "Tracer":
        if self._tracer is None:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

            resource = Resource({"service.name": self.service})
            self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(self._exporter(), schedule_delay_millis=500))
            self._tracer = self._provider.get_tracer("careloop")
            atexit.register(self._provider.shutdown)
        return self._tracer

    def _exporter(self) -> Any:
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter()
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        assert self.spans_dir is not None
        self.spans_dir.mkdir(parents=True, exist_ok=True)
        path = self.spans_dir / f"{self.service}-{os.getpid()}.jsonl"
        return ConsoleSpanExporter(out=path.open("a"), formatter=self._line)

    def _line(self, span: "ReadableSpan") -> str:
        context, parent = span.get_span_context(), span.parent
        assert context is not None
        line = {
            "service": self.service,
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
            "parent": f"{parent.span_id:016x}" if parent else None,
            "name": span.name,
            "start": span.start_time,
            "end": span.end_time,
            "attributes": dict(span.attributes or {}),
            "links": [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links],
        }
        return json.dumps(line) + "\n"

    def flush(self) -> None:
        if self._provider is not None:
            self._provider.force_flush(2_000)


_tracing = _Tracing()


def configure_tracing(service: str, ratio: float = 0.0, spans_dir: Path | None = None) -> None:
    """Sample this share of new traces.

    Spans go by OTLP where OTEL_EXPORTER_OTLP_ENDPOINT is set, else to a file of JSON lines in `spans_dir`.
    """
    _tracing.configure(service, ratio, spans_dir)


def flush_tracing() -> None:
    """Write out what was recorded so far."""
    _tracing.flush()


def new_traceparent(incoming: str | None = None) -> str:
    """The caller's W3C traceparent if it is a valid one, else a new one, sampled by the configured ratio."""
    if incoming is not None and is_traceparent(incoming):
        return incoming
    random = os.urandom(24)
    flags = "01" if int.from_bytes(random[8:16]) < _tracing.bound else "00"
    return f"00-{random[:16].hex()}-{random[16:].hex()}-{flags}"


def is_traceparent(text: str) -> bool:
    """Whether this is a traceparent of version 00 and nothing else: it is passed on unchanged."""
    if len(text) != 55 or text[:3] != "00-" or text[35] != "-" or text[52] != "-":
        return False
    digits = text[3:35] + text[36:52] + text[53:]
    return not digits.strip("0123456789abcdef") and bool(text[3:35].strip("0") and text[36:52].strip("0"))


def sampled(traceparent: str | None) -> bool:
    """Whether spans of this trace are recorded."""
    return traceparent is not None and is_traceparent(traceparent) and traceparent[-1] in "13579bdf"


def current_traceparent() -> str | None:
    """The traceparent of the work in hand: of its span where that is recorded, else the one it came with."""
    return _current.get()


@contextmanager
def span(
    name: str, traceparent: str | None = None, links: Iterable[str] = (), **attributes: object
) -> Iterator[Handle]:
    """Record the work inside as a child of `traceparent`, or of the work in hand, or as a new trace.

    A new trace with links is sampled when a linked one is. Not sampled, this costs next to nothing.
    """
    followed = [link for link in links if sampled(link)]
    parent = traceparent or (None if followed else _current.get())
    here = parent or new_traceparent()
    if not _tracing.recording or not (sampled(here) or (parent is None and followed)):
        token = _current.set(here)
        try:
            yield _NOWHERE
        finally:
            _current.reset(token)
        return
    recorded = _start(name, parent, followed, attributes)
    token = _current.set(_traceparent_of(recorded))
    try:
        yield _Recorded(recorded)
    except BaseException as error:
        _mark_failed(recorded, error)
        raise
    finally:
        _current.reset(token)
        recorded.end()


class _Nowhere:
    def note(self, **attributes: object) -> None:
        """Not sampled: nothing to add to."""


class _Recorded:
    def __init__(self, recorded: "Span") -> None:
        self._span = recorded

    def note(self, **attributes: object) -> None:
        self._span.set_attributes(_allowed(attributes))


_NOWHERE = _Nowhere()


def _allowed(attributes: dict[str, object]) -> dict[str, Value]:
    return {
        ATTRIBUTES[name]: value
        for name, found in attributes.items()
        if name in ATTRIBUTES and (value := plain(found)) is not None
    }


def _start(name: str, parent: str | None, links: list[str], attributes: dict[str, object]) -> "Span":
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context

    context = set_span_in_context(NonRecordingSpan(_context_of(parent)), Context()) if parent else Context()
    return _tracing.tracer().start_span(
        name,
        context=context,
        links=[Link(_context_of(link)) for link in links],
        attributes=_allowed(attributes),
        record_exception=False,
        set_status_on_exception=False,
    )


def _context_of(traceparent: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, span_id = int(traceparent[3:35], 16), int(traceparent[36:52], 16)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _traceparent_of(recorded: "Span") -> str:
    context = recorded.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _mark_failed(recorded: "Span", error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    recorded.set_status(Status(StatusCode.ERROR))
    recorded.set_attribute("error.type", type(error).__qualname__)
