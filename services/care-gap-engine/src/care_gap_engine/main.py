"""The composition root."""

from care_gap_engine import consumers
from care_gap_engine.api import router
from phi_common.service import Service

SERVICE = Service(
    "care-gap-engine",
    subscriptions=(consumers.facts, consumers.profiles),
    sweeps=(consumers.sweep,),
    router=router,
)
