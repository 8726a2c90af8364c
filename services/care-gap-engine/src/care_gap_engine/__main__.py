"""`python -m care_gap_engine serve | migrate`."""

from care_gap_engine.main import SERVICE
from care_gap_engine.settings import Settings
from phi_common.service import run

run(SERVICE, Settings)
