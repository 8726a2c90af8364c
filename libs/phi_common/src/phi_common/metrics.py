"""What Prometheus may ask a service. Labels are names from code, never from data."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=False)

EVENTS_HANDLED = Counter(
    "careloop_events_handled",
    "Events taken from a topic, by what became of them",
    ("topic", "outcome"),
    registry=REGISTRY,
)
DEAD_LETTERS = Counter("careloop_dead_letters", "Events put aside as not handleable", ("topic",), registry=REGISTRY)
SWEEP_FAILURES = Counter(
    "careloop_sweep_failures", "Steps that were due and failed for one patient", ("topic",), registry=REGISTRY
)
OUTBOX_ROWS = Gauge("careloop_outbox_rows", "Events accepted and not yet on Kafka", registry=REGISTRY)
OUTBOX_OLDEST = Gauge("careloop_outbox_oldest_seconds", "Age of the oldest of them", registry=REGISTRY)
CONSUMER_LAG = Gauge(
    "careloop_consumer_lag",
    "Events on a topic that this service has not handled",
    ("topic",),
    registry=REGISTRY,
)
MLLP_ACKS = Counter("careloop_mllp_acks", "HL7 v2 acknowledgements, by MSA-1", ("code",), registry=REGISTRY)
FHIR_JUDGED = Counter(
    "careloop_fhir_judged",
    "Accepted FHIR resources that the full model read too, by its verdict",
    ("kind", "verdict"),
    registry=REGISTRY,
)
BATCH_SECONDS = Histogram(
    "careloop_batch_seconds",
    "From a batch in hand to its commit",
    ("topic",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)


def render() -> bytes:
    """The current values in the Prometheus text format."""
    return generate_latest(REGISTRY)
