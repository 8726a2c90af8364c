"""The acknowledgement: MSH, MSA and, for a problem, ERR. Plain strings, since every message waits for one."""

from datetime import datetime

from ingest_fhir.hl7v2.reader import Header, Problem
from phi_common.clock import new_id
from phi_common.metrics import MLLP_ACKS

ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\", "\r": " ", "\n": " "})
CONDITIONS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}


def acknowledge(header: Header, now: datetime, problem: Problem | None = None) -> bytes:
    """AA, or AE/AR with where and what went wrong. Nothing of the patient is in it, only what MSH said."""
    code = "AA" if problem is None else "AR" if problem.reject else "AE"
    MLLP_ACKS.labels(code).inc()
    version = header.version if header.version[:3] in ("2.3", "2.4", "2.5", "2.6", "2.7", "2.8") else "2.5.1"
    lines = [
        f"MSH|^~\\&|CARELOOP||{escaped(header.application)}|{escaped(header.facility)}|{now:%Y%m%d%H%M%S}+0000||"
        f"ACK^{escaped(header.trigger)}^ACK|{new_id().hex[-20:]}|{escaped(header.processing)}|{version}",
        f"MSA|{code}|{escaped(header.control_id)}",
    ]
    if problem is not None:
        where = f"{problem.segment}^{problem.sequence}" + (f"^{problem.field}" if problem.field else "")
        condition = f"{problem.code}^{CONDITIONS[problem.code]}^HL70357"
        lines.append(f"ERR||{where if problem.segment else ''}|{condition}|E||||{escaped(str(problem))}")
    return ("\r".join(lines) + "\r").encode()


def escaped(text: str) -> str:
    """The text with our delimiters escaped, on one line."""
    return text.translate(ESCAPES)
