"""A load generator in a process of its own: keep-alive HTTPS connections, one request in flight on each.

Closed loop (as fast as answers come) or open loop (a fixed rate, timed from when a request should have been sent).
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Plan:
    """What to send where. `bodies` is a file with one JSON document a line."""

    url: str
    ca_file: str
    token: str
    bodies: str
    connections: int
    rate: float
    """Requests per second; 0 means as fast as answers come."""
    answers: str = ""
    """A file for the answers' bodies, one a line."""


class Refused(Exception):
    """An answer other than 200 or 201: the figures would mean nothing."""


class Connection:
    """One keep-alive connection."""

    def __init__(self, plan: Plan, tls: ssl.SSLContext) -> None:
        self._url = urlsplit(plan.url)
        self._tls = tls
        self._head = (
            f"POST {self._url.path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAuthorization: Bearer {plan.token}\r\n"
            "Content-Type: application/fhir+json\r\nContent-Length: "
        ).encode()

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._url.hostname, self._url.port, ssl=self._tls)

    async def post(self, body: bytes) -> bytes:
        """Send one request and read the whole answer."""
        self._writer.write(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
        head = await self._reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        answer = await self._reader.readexactly(length)
        if head[9:12] not in (b"200", b"201"):
            raise Refused(head[9:12].decode() + " " + answer[:300].decode(errors="replace"))
        return answer


async def drive(plan: Plan, bodies: Sequence[bytes]) -> list[tuple[float, float, bytes]]:
    """Send every body; for each the intended start, the end (both `time.time()`), and the answer, in order."""
    tls = ssl.create_default_context(cafile=plan.ca_file)
    connections = [Connection(plan, tls) for _ in range(plan.connections)]
    await asyncio.gather(*(connection.open() for connection in connections))
    results: list[tuple[float, float, bytes]] = [(0.0, 0.0, b"")] * len(bodies)
    todo = iter(range(len(bodies)))
    begin = time.time()

    async def work(connection: Connection) -> None:
        for at in todo:
            start = await _moment(begin, at, plan.rate)
            answer = await connection.post(bodies[at])
            results[at] = (start, time.time(), answer)

    await asyncio.gather(*(work(connection) for connection in connections))
    return results


async def _moment(begin: float, at: int, rate: float) -> float:
    if not rate:
        return time.time()
    intended = begin + at / rate
    if (wait := intended - time.time()) > 0:
        await asyncio.sleep(wait)
    return intended


def main() -> None:
    """`python -m careloop.bench.load PLAN.json RESULT.json`: a line of start and end for each request."""
    import uvloop

    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    bodies = Path(plan.bodies).read_bytes().splitlines()
    results = uvloop.run(drive(plan, bodies))
    if plan.answers:
        Path(plan.answers).write_bytes(b"\n".join(answer.replace(b"\n", b" ") for _, _, answer in results))
    times = [(start, end) for start, end, _ in results]
    Path(sys.argv[2]).write_text(json.dumps(times))


if __name__ == "__main__":
    main()
