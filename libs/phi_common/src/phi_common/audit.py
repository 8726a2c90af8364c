"""The sealer of the audit trail: numbered, chained blocks with a Merkle root over rows, anchored outside.

A block covers the rows of a range of transaction ids that can no longer change: all below the oldest running one. Rows
carry no chain of their own, so that writing them costs no lock.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LEAVES = """
SELECT sha256(convert_to(ROW(id, at, actor, action, patients, details, traces)::text, 'UTF8'))
FROM audit WHERE xid >= %s::text::xid8 AND xid < %s::text::xid8 ORDER BY id
"""
LOCK = 0x0A0D17
NOTHING = bytes(32)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root of a binary hash tree; leaf and node hashes are told apart, an odd node moves up unchanged (RFC 9162)."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0] if level else NOTHING


def chained(number: int, root: bytes, previous: bytes) -> bytes:
    """What the next block, and the anchor, refer to."""
    return hashlib.sha256(number.to_bytes(8, "big") + root + previous).digest()


async def seal(pg: Any, service: str, anchors: Path | None) -> int:
    """Seal what is new as one block, in one transaction of its own; the number of rows in it."""
    async with pg.transaction():
        await pg.execute("SET LOCAL timezone = 'UTC'")
        if not (await (await pg.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])).fetchone())[0]:
            return 0
        last = "SELECT number, to_xid::text, root, previous FROM audit_blocks ORDER BY number DESC LIMIT 1"
        found = await (await pg.execute(last)).fetchone()
        number, start, previous = (
            (found[0] + 1, found[1], chained(found[0], found[2], found[3])) if found else (0, "0", NOTHING)
        )
        (end,) = await (await pg.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")).fetchone()
        leaves = [leaf for (leaf,) in await (await pg.execute(LEAVES, [start, end])).fetchall()]
        if not leaves:
            return 0
        root = merkle_root(leaves)
        await pg.execute(
            "INSERT INTO audit_blocks (number, from_xid, to_xid, rows, root, previous) "
            "VALUES (%s, %s::text::xid8, %s::text::xid8, %s, %s, %s)",
            [number, start, end, len(leaves), root, previous],
        )
    if anchors:
        line = {"block": number, "rows": len(leaves), "head": chained(number, root, previous).hex()}
        with (anchors / f"{service}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
    return len(leaves)


async def unsealed_seconds(pg: Any) -> float:
    """Age of the oldest row that no block covers."""
    query = (
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(stored)), 0) FROM audit "
        "WHERE xid >= coalesce((SELECT max(to_xid::text::numeric) FROM audit_blocks), 0)::text::xid8"
    )
    return float((await (await pg.execute(query)).fetchone())[0])


async def verify(pg: Any, anchors: Mapping[int, str] | None = None) -> list[str]:
    """Recompute every block; what does not agree, block by block. `anchors` are the heads written outside, by block."""
    await pg.execute("SET timezone = 'UTC'")
    breaks = []
    query = "SELECT number, from_xid::text, to_xid::text, rows, root, previous FROM audit_blocks ORDER BY number"
    expected, previous, upto = 0, NOTHING, "0"
    heads: dict[int, str] = {}
    for number, start, end, rows, root, before in await (await pg.execute(query)).fetchall():
        leaves = [leaf for (leaf,) in await (await pg.execute(LEAVES, [start, end])).fetchall()]
        if number != expected or bytes(before) != previous or start != upto:
            breaks.append(f"block {number}: chain")
        if len(leaves) != rows or merkle_root(leaves) != bytes(root):
            breaks.append(f"block {number}: rows")
        expected, upto, previous = number + 1, end, chained(number, bytes(root), bytes(before))
        heads[number] = previous.hex()
    breaks += [f"anchor {block}" for block, head in (anchors or {}).items() if heads.get(block) != head]
    return breaks
