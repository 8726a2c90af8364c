"""The schedule that ships with the service, for demos and tests, and the names that official test cases use.

The schedule is of our own making and fits no real vaccine: an installation loads the schedule that it follows.
"""

import json
from importlib.resources import files

from care_gap_engine.domain.vaccines.model import Schedule
from care_gap_engine.domain.vaccines.schedule import load_schedule

DEMO = "demo.json"


def demo() -> Schedule:
    """Four made-up antigens in three vaccine groups."""
    return load_schedule(DEMO, (files(__name__) / DEMO).read_bytes())


def case_groups() -> dict[str, str]:
    """What the CDC's test cases call a vaccine group -> what its schedule calls it."""
    found: dict[str, str] = json.loads((files(__name__) / "case-groups.json").read_text())
    return found
