"""The sealer finds whatever is changed afterwards."""

import asyncio
from uuid import uuid4

import pytest

from phi_common import audit

TAMPERINGS = {
    "changed": "UPDATE audit SET actor = 'x' WHERE id = (SELECT id FROM audit ORDER BY id LIMIT 1)",
    "deleted": "DELETE FROM audit WHERE id = (SELECT id FROM audit ORDER BY id DESC LIMIT 1)",
    "inserted": "INSERT INTO audit (id, xid, at, actor, action, patients, details, traces) "
    "SELECT gen_random_uuid(), xid, at, actor, action, patients, details, traces FROM audit LIMIT 1",
    "block replaced": "UPDATE audit_blocks SET root = sha256('x') WHERE number = 0",
    "chain cut": "UPDATE audit_blocks SET previous = sha256('x') WHERE number = 0",
    "miscounted": "UPDATE audit_blocks SET rows = rows + 1 WHERE number = 0",
}


async def sealed(runtime, blocks: int = 3) -> None:
    for _ in range(blocks):
        async with runtime.transaction("someone") as tx:
            tx.audit("read", uuid4())
            tx.audit("read", uuid4())
        async with await runtime.pg() as pg:
            await audit.seal(pg, "toy", None)


async def broken(runtime) -> list[str]:
    async with await runtime.pg() as pg:
        return await audit.verify(pg)


async def test_an_untouched_trail_verifies(runtime):
    await sealed(runtime)
    assert await broken(runtime) == []


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_tampering_is_found(runtime, pg, tampering):
    await sealed(runtime)
    pg.execute(tampering)
    assert await broken(runtime) != []


async def test_a_cut_tail_is_found_by_the_anchor(runtime, pg, tmp_path):
    for _ in range(2):
        async with runtime.transaction("someone") as tx:
            tx.audit("read", uuid4())
        async with await runtime.pg() as own:
            await audit.seal(own, "toy", tmp_path)
    pg.execute("DELETE FROM audit WHERE xid >= (SELECT from_xid FROM audit_blocks WHERE number = 1)")
    pg.execute("DELETE FROM audit_blocks WHERE number = 1")
    import json

    lines = [json.loads(line) for line in (tmp_path / "toy.jsonl").read_text().splitlines()]
    heads = {line["block"]: line["head"] for line in lines}
    async with await runtime.pg() as own:
        assert await audit.verify(own) == []
        assert await audit.verify(own, heads) == ["anchor 1"]


async def test_a_running_transaction_is_not_passed_over(runtime):
    async with runtime.transaction("slow") as slow:
        slow.audit("read", uuid4())
        await slow.arrive()
        await slow._send(await runtime.db._writes(slow))
        slow.audited.clear()
        await sealed(runtime, blocks=1)
    async with await runtime.pg() as pg, asyncio.timeout(20):
        while await audit.unsealed_seconds(pg):
            await audit.seal(pg, "toy", None)
            await asyncio.sleep(0.05)
        assert await audit.verify(pg) == []
