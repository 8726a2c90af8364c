"""Loading and saving what people said, as sets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from consent.domain.preferences import ADDRESSED, Evidence, Preferences, Rule
from consent.storage.addresses import digest_of
from phi_common.crypto import BlindIndex
from phi_common.db import columns
from phi_common.events.consent import Channel, Permission
from phi_common.transaction import Tx

EVIDENCE = "consents.evidence"

PEOPLE = "SELECT patient_id, version, deceased, preferred, holds FROM people WHERE patient_id = ANY(%b)"
RULES = """
SELECT p.patient_id, p.channel, p.permission, p.version, p.since, c.evidence
FROM preferences p JOIN consents c USING (patient_id, version) WHERE p.patient_id = ANY(%b)
"""
SAVE_PEOPLE = """
INSERT INTO people (patient_id, version, deceased, preferred, holds)
SELECT patient_id, version, deceased, preferred, string_to_array(holds, ',')::uuid[]
FROM unnest(%b::uuid[], %b::int8[], %b::bool[], %b::text[], %b::text[])
     AS saved (patient_id, version, deceased, preferred, holds)
ON CONFLICT (patient_id) DO UPDATE
SET version = excluded.version, deceased = excluded.deceased, preferred = excluded.preferred, holds = excluded.holds
"""
SAVE_RULES = """
INSERT INTO preferences (patient_id, version, channel, permission, since)
SELECT * FROM unnest(%b::uuid[], %b::int8[], %b::text[], %b::text[], %b::timestamptz[])
ON CONFLICT (patient_id, channel) DO UPDATE
SET permission = excluded.permission, version = excluded.version, since = excluded.since
WHERE preferences.version < excluded.version
"""
SAVE_CONSENTS = """
INSERT INTO consents (patient_id, version, channel, permission, since, evidence)
SELECT * FROM unnest(%b::uuid[], %b::int8[], %b::text[], %b::text[], %b::timestamptz[], %b::bytea[])
ON CONFLICT DO NOTHING
"""
FORGET_ADDRESSES = "DELETE FROM addresses WHERE patient_id = ANY(%b)"
SAVE_ADDRESSES = "INSERT INTO addresses (patient_id, digest) SELECT * FROM unnest(%b::uuid[], %b::bytea[])"
SAVE_BLOCKS = """
INSERT INTO address_blocks (channel, digest, blocked, version)
SELECT channel, digest, false, 0 FROM unnest(%b::text[], %b::bytea[]) AS seen (channel, digest)
ON CONFLICT DO NOTHING
"""


async def load(tx: Tx, ids: Sequence[UUID]) -> dict[UUID, Preferences]:
    """The preferences of these people; whoever never said anything has the empty ones."""
    known = tx.ahead(PEOPLE, [list(ids)])
    rules: dict[UUID, dict[Channel, Rule]] = {}
    for patient, channel, permission, version, since, evidence in await tx.rows(RULES, [list(ids)]):
        if not tx.knows(patient):
            continue
        rule = Rule(Permission(permission), version, since, _evidence(tx.open(patient, EVIDENCE, evidence)))
        rules.setdefault(patient, {})[Channel(channel)] = rule
    found = {
        patient: Preferences(
            version, deceased, Channel(preferred) if preferred else None, rules.get(patient, {}), frozenset(holds)
        )
        for patient, version, deceased, preferred, holds in await known.rows()
    }
    return {patient: found.get(patient, Preferences()) for patient in ids}


async def save(tx: Tx, states: Mapping[UUID, Preferences]) -> None:
    """Keep these preferences; consent on record is only ever added to."""
    ordered = sorted(states.items())
    people = [
        (p, s.version, s.deceased, s.preferred and s.preferred.value, ",".join(map(str, sorted(s.holds))))
        for p, s in ordered
    ]
    await tx.execute(SAVE_PEOPLE, columns(people, 5))
    consents = [_consent(tx, patient, channel, rule) for patient, s in ordered for channel, rule in s.rules.items()]
    if consents:
        saved = columns(sorted(consents, key=lambda row: (row[0], row[2])), 6)
        await tx.execute(SAVE_RULES, saved[:5])
        await tx.execute(SAVE_CONSENTS, saved)
    await _save_contacts(tx, tx.index, ordered)


async def _save_contacts(tx: Tx, index: BlindIndex, states: Sequence[tuple[UUID, Preferences]]) -> None:
    reported = [(patient, state.contacts) for patient, state in states if state.contacts is not None]
    if not reported:
        return
    seen = {(patient, kind, digest_of(index, kind, value)) for patient, all_ in reported for kind, value in all_}
    await tx.execute(FORGET_ADDRESSES, [[patient for patient, _ in reported]])
    if seen:
        await tx.execute(SAVE_ADDRESSES, columns(sorted({(patient, digest) for patient, _, digest in seen}), 2))
        blocks = {(c.value, digest) for _, kind, digest in seen for c, needed in ADDRESSED.items() if needed == kind}
        await tx.execute(SAVE_BLOCKS, columns(sorted(blocks), 2))


def _consent(tx: Tx, patient: UUID, channel: Channel, rule: Rule) -> tuple[Any, ...]:
    evidence = asdict(rule.evidence) | {"at": rule.evidence.at.isoformat()}
    sealed = tx.seal(patient, EVIDENCE, json.dumps(evidence).encode())
    return patient, rule.version, channel.value, rule.permission.value, rule.since, sealed


def _evidence(plain: bytes) -> Evidence:
    fields = json.loads(plain)
    return Evidence(**fields | {"at": datetime.fromisoformat(fields["at"])})
