"""`python -m consent serve | migrate`."""

from consent.main import SERVICE
from consent.settings import Settings
from phi_common.service import run

run(SERVICE, Settings)
