"""What an answer of Triton means: the one place where its statuses and texts are read.

The table was measured on a real server; tests/triton brings about every row again.
"""

from enum import StrEnum


class Verdict(StrEnum):
    """What to do about a request that brought no outputs."""

    GONE = "gone"  # no server behind the address, or one that is stopping: ask another, come back later
    OVERLOADED = "overloaded"  # alive, with a full queue: ask for less at once, then again
    LATE = "late"  # no answer within the deadline
    MISSING = "missing"  # the server is there, the model is not
    REFUSED = "refused"  # the request itself is wrong: the same one never succeeds
    FAULT = "fault"  # the model failed over the batch: one of its rows, or the model itself, is broken
    UNSHARED = "unshared"  # the server does not know our shared memory: it was restarted
    NONSENSE = "nonsense"  # an answer of the wrong shape, or with numbers that are none


_OVERLOAD = ("exceeds maximum queue size", "request timeout expired", "timeout expired")
_BY_STATUS = {
    "UNAVAILABLE": Verdict.GONE,
    "DEADLINE_EXCEEDED": Verdict.LATE,
    "CANCELLED": Verdict.LATE,  # by the server: ours raises asyncio.CancelledError
    "NOT_FOUND": Verdict.MISSING,
    "INVALID_ARGUMENT": Verdict.REFUSED,
    "UNIMPLEMENTED": Verdict.REFUSED,
    "OUT_OF_RANGE": Verdict.REFUSED,
    "RESOURCE_EXHAUSTED": Verdict.OVERLOADED,
    "INTERNAL": Verdict.FAULT,
    "UNKNOWN": Verdict.FAULT,
}


def classify(status: str | None, message: str) -> Verdict:
    """One row of the table. status as tritonclient gives it ("StatusCode.X"); None: refused by the client before it was sent."""
    text = message.lower()
    code = (status or "").rpartition(".")[2].upper()
    if not code:
        return Verdict.REFUSED
    if code == "UNAVAILABLE" and any(words in text for words in _OVERLOAD):
        return Verdict.OVERLOADED
    if "shared memory region" in text and code in ("INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"):
        return Verdict.UNSHARED
    return _BY_STATUS.get(code, Verdict.FAULT)


class Refusal(Exception):
    """A request without outputs: what it means, and what the server said. Never leaves the Triton backend."""

    def __init__(self, verdict: Verdict, said: str) -> None:
        super().__init__(said)
        self.verdict, self.said = verdict, " ".join(said.split())[:300]
