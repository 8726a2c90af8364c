"""Charts, the append-only history of facts, and the clear table of gap episodes. Sets in, sets out."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA

from care_gap_engine.domain.chart import Chart, Gap, Profile
from care_gap_engine.domain.facts import Fact
from phi_common import topics
from phi_common.db import NAMING, columns
from phi_common.eventing import dead_letters
from phi_common.eventing.tables import plumbing
from phi_common.transaction import Tx

INSTANT = sa.DateTime(timezone=True)
CHART, FACT = "charts.sealed", "facts.sealed"

metadata = sa.MetaData(naming_convention=NAMING)
plumbing(metadata)

charts = sa.Table(
    "charts",
    metadata,
    sa.Column("patient_id", sa.Uuid, primary_key=True),
    sa.Column("sealed", BYTEA, nullable=False),
    sa.Column("due_at", INSTANT, index=True),
)
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("patient_id", sa.Uuid, nullable=False, index=True),
    sa.Column("recorded", INSTANT, nullable=False),
    sa.Column("sealed", BYTEA, nullable=False),
)
gaps = sa.Table(
    "gaps",
    metadata,
    sa.Column("gap_id", sa.Uuid, primary_key=True),
    sa.Column("patient_id", sa.Uuid, nullable=False, index=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened", INSTANT),
    sa.Column("closed", INSTANT),
)

LOAD = "SELECT patient_id, sealed FROM charts WHERE patient_id = ANY(%b)"
SAVE_CHARTS = """
INSERT INTO charts (patient_id, sealed, due_at)
SELECT * FROM unnest(%b::uuid[], %b::bytea[], %b::timestamptz[])
ON CONFLICT (patient_id) DO UPDATE SET sealed = excluded.sealed, due_at = excluded.due_at
"""
ADD_FACTS = """
INSERT INTO facts (patient_id, recorded, sealed)
SELECT * FROM unnest(%b::uuid[], %b::timestamptz[], %b::bytea[])
"""
SAVE_GAPS = """
INSERT INTO gaps (gap_id, patient_id, rule, state, opened, closed)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[])
ON CONFLICT (gap_id) DO UPDATE SET state = excluded.state, opened = excluded.opened, closed = excluded.closed
"""
HISTORY = "SELECT sealed FROM facts WHERE patient_id = %b ORDER BY id"
DUE = """
SELECT patient_id FROM charts JOIN subjects ON id = patient_id
WHERE due_at <= %b AND erased_at IS NULL ORDER BY due_at LIMIT %b
"""
NEXT_DUE = "SELECT min(due_at) FROM charts JOIN subjects ON id = patient_id WHERE erased_at IS NULL"

ERASE = ("DELETE FROM charts WHERE patient_id = ANY(%b)", "DELETE FROM gaps WHERE patient_id = ANY(%b)")

Body = tuple[Profile, tuple[Fact, ...], tuple[Gap, ...]]
BLANK: Body = (Profile(), (), ())

encode = msgspec.msgpack.Encoder().encode
decode_chart = msgspec.msgpack.Decoder(Body).decode
decode_fact = msgspec.msgpack.Decoder(Fact).decode


async def load_charts(tx: Tx, ids: Sequence[UUID]) -> dict[UUID, Chart]:
    """The chart of every id; an empty one for a patient not seen before."""
    ids = list(ids)
    parked = dead_letters.parked(tx, topics.CLINICAL_FACTS, ids)
    found = dict(await tx.rows(LOAD, [ids]))
    doubted = {patient for (patient,) in await parked.rows()}
    loaded = {}
    for patient in ids:
        profile, known, standing = BLANK
        if patient in found and tx.knows(patient):
            profile, known, standing = decode_chart(tx.open(patient, CHART, found[patient]))
        loaded[patient] = Chart(patient, profile, known, standing, doubted=patient in doubted)
    return loaded


async def save_charts(tx: Tx, changed: dict[UUID, Chart]) -> None:
    """Store charts, and append what they bring for the history and the table of gaps."""
    rows = []
    for patient, chart in changed.items():
        body = encode((chart.profile, chart.facts, chart.gaps))
        rows.append((patient, tx.seal(patient, CHART, body), chart.next_change))
    tx.later(SAVE_CHARTS, columns(rows, 3))
    news = [
        (patient, fact.recorded, tx.seal(patient, FACT, encode(fact)))
        for patient, chart in changed.items()
        for fact in chart.news
    ]
    if news:
        tx.later(ADD_FACTS, columns(news, 3))
    episodes = {
        one.gap_id: (one.gap_id, patient, one.rule, one.state.value, one.opened, one.closed)
        for patient, chart in changed.items()
        for one in chart.episodes
    }
    if episodes:
        tx.later(SAVE_GAPS, columns(list(episodes.values()), 6))


async def history_of(tx: Tx, patient: UUID) -> list[Fact]:
    """All that was ever said about a patient, in the order in which it came."""
    rows = await tx.rows(HISTORY, [patient])
    return [decode_fact(tx.open(patient, FACT, sealed)) for (sealed,) in rows]


async def due_charts(tx: Tx, upto: datetime, limit: int) -> list[UUID]:
    """Patients for whom some state changes by time alone, the longest due first."""
    rows = await tx.rows(DUE, [upto, limit])
    return [patient for (patient,) in rows]


async def next_due(tx: Tx) -> datetime | None:
    """The next instant at which any state changes by time alone."""
    ((instant,),) = await tx.rows(NEXT_DUE)
    return instant if isinstance(instant, datetime) else None


async def erase(tx: Tx, patients: Sequence[UUID]) -> None:
    """Remove what is clear about erased patients: due instants and gaps. The history stays, and nobody can read it."""
    for statement in ERASE:
        await tx.execute(statement, [list(patients)])
