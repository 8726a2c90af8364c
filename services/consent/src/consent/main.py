"""The composition of the consent service."""

from consent import api, consumers
from consent.drain import draining, pending
from phi_common.service import Service

SERVICE = Service(
    "consent",
    subscriptions=(consumers.preferences, consumers.contacts),
    router=api.router,
    lifespans=(draining,),
    busy=pending,
)
