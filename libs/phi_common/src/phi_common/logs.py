"""JSON logs that cannot carry PHI: unlisted fields are dropped, texts that may quote data are not written."""

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

FIELDS = frozenset(
    {
        "ack_code",
        "attempt",
        "block",
        "channel",
        "count",
        "duration_ms",
        "error_id",
        "event_id",
        "event_type",
        "key_name",
        "lag",
        "listen",
        "message_id",
        "method",
        "offset",
        "oldest_seconds",
        "operation",
        "outcome",
        "partition",
        "pending",
        "permission",
        "provider",
        "reason",
        "reason_code",
        "route",
        "service",
        "signal",
        "status",
        "subscription",
        "task",
        "topic",
        "version",
        "wait_seconds",
    }
)
LONGEST_TEXT = 200
QUIET = ("aiokafka", "faststream", "sqlalchemy", "uvicorn", "uvicorn.error", "asyncio", "urllib3", "hvac")

Value = str | int | float | bool

traceparent_in_hand: ContextVar[str | None] = ContextVar("traceparent_in_hand", default=None)


def configure_logging(service: str) -> None:
    """One JSON object a line on standard output: our own events, and libraries' from warning up."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("careloop").setLevel(logging.INFO)
    for name in QUIET:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


class Log:
    """Our own log. `event` is a constant in code, never built from data; fields not listed are dropped."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("careloop")

    def info(self, event: str, **fields: object) -> None:
        """Something that an operator may want to know."""
        self._write(logging.INFO, event, fields, None)

    def warning(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Something that heals by itself, or that may not."""
        self._write(logging.WARNING, event, fields, error)

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Something that needs a person."""
        self._write(logging.ERROR, event, fields, error)

    def _write(self, level: int, event: str, fields: dict[str, object], error: BaseException | None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        listed = ((name, plain(found)) for name, found in fields.items() if name in FIELDS)
        shown: dict[str, object] = {name: value for name, value in listed if value is not None}
        self._logger.log(level, event, extra={"shown": shown | described(error)})


log = Log()


class _Lines(logging.Formatter):
    """Our own records with their fields; of a library's the template and place, never its arguments."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
        }
        if record.name == "careloop":
            line |= {"event": record.msg} | getattr(record, "shown", {})
        else:
            line |= {"event": "library", "logger": record.name, "at": f"{record.module}:{record.lineno}"}
            if record.args and isinstance(record.msg, str):
                line["template"] = record.msg[:LONGEST_TEXT]
            line |= described(record.exc_info[1] if record.exc_info else None)
        if traceparent := traceparent_in_hand.get():
            line["trace_id"] = traceparent[3:35]
        return json.dumps(line)


def plain(value: object) -> Value | None:
    """A scalar that may be written, or None: structures could hold anything, long texts are not labels."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT else None


def described(error: BaseException | None) -> dict[str, str]:
    """The type of an exception and the place in code where it arose; its text may quote data."""
    if error is None:
        return {}
    kind = type(error)
    found = {"error_type": f"{kind.__module__}.{kind.__qualname__}"}
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        found["error_at"] = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}"
    return found
