"""What is wrong with a resource, by element path and never by content, as an OperationOutcome."""

import re
from dataclasses import dataclass

import msgspec

PATH = re.compile(r" - at `\$\.?([^`]*)`$")
MISSING = re.compile(r"Object missing required field `(\w+)`")
SAFE = re.compile(r"Expected `[^`]*`(?: matching [^,]*)?, got `\w+`")


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding; `code` is a FHIR issue-type."""

    code: str
    text: str
    expression: str = ""


class Refusal(Exception):
    """Carries the HTTP status and the finding that a sender gets."""

    def __init__(self, status: int, code: str, text: str, expression: str = "") -> None:
        super().__init__(f"{status} {code} {expression}")
        self.status = status
        self.issue = Issue(code, text, expression)

    def within(self, path: str) -> "Refusal":
        """The same finding, seen from an enclosing Bundle entry."""
        return Refusal(self.status, self.issue.code, self.issue.text, f"{path}.{self.issue.expression}".rstrip("."))


def outcome(issue: Issue) -> bytes:
    """The issue as an OperationOutcome."""
    found: dict[str, object] = {"severity": "error", "code": issue.code, "details": {"text": issue.text}}
    if issue.expression:
        found["expression"] = [issue.expression]
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [found]})


def explained(error: msgspec.DecodeError, root: str) -> Refusal:
    """A decoder's complaint as an element path and a rule; what the sender wrote is left out."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Refusal(400, "structure", "body is not well-formed JSON")
    at = PATH.search(text)
    path = ".".join(filter(None, (root, at[1] if at else "")))
    if found := MISSING.match(text):
        return Refusal(422, "required", "element is missing", f"{path}.{found[1]}")
    if found := SAFE.match(text):
        return Refusal(422, "structure", found[0].replace("`", ""), path)
    return Refusal(422, "value", "value is not allowed here", path)
