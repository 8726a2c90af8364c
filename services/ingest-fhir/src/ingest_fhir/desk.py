"""Where both doors, FHIR and MLLP, hand in what they understood; one group commit behind it."""

from weakref import WeakKeyDictionary

from psycopg.errors import UniqueViolation

from ingest_fhir.domain import Answer, Rejected, Submission
from ingest_fhir.storage import Intake
from ingest_fhir.storage.accept import Item
from phi_common.eventing.accept import GroupCommit, Unavailable
from phi_common.runtime import Runtime

ATTEMPTS = 3
_desks: "WeakKeyDictionary[Runtime, Desk]" = WeakKeyDictionary()


class Desk:
    """Takes submissions and rejects; what it returns is durable."""

    def __init__(self, runtime: Runtime) -> None:
        self.intake = Intake(runtime.index)
        self._group: GroupCommit[Item, Answer | None] = GroupCommit(
            runtime, self.intake.accept, actor="ingest-fhir", most=500
        )

    async def submit(self, submission: Submission) -> Answer:
        """The answer, once stored. Of two requests with one key at once, one gets the other's answer."""
        for _ in range(ATTEMPTS):
            try:
                answer = await self._group.submit(submission)
            except UniqueViolation:
                continue
            assert answer is not None
            return answer
        raise Unavailable

    async def keep(self, rejected: Rejected) -> None:
        """Store a message that was not understood."""
        await self._group.submit(rejected)


def desk_of(runtime: Runtime) -> Desk:
    """The desk of this process."""
    if runtime not in _desks:
        _desks[runtime] = desk = Desk(runtime)
        runtime.memories.append(desk.intake.identities)
    return _desks[runtime]
