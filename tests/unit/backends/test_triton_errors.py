"""The table of Triton's errors, with the texts that tritonserver 2.51.0 was heard to say. tests/triton brings them about on a real server."""

import pytest

from kizu_fast.backends.triton_errors import Refusal, Verdict, classify

HEARD = [
    ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: Connection refused", Verdict.GONE),
    ("UNAVAILABLE", "Stream removed (Socket closed)", Verdict.GONE),
    ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new inference requests", Verdict.GONE),
    ("UNAVAILABLE", "Server exiting", Verdict.GONE),
    ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size", Verdict.OVERLOADED),
    ("UNAVAILABLE", "Request timeout expired", Verdict.OVERLOADED),
    ("RESOURCE_EXHAUSTED", "too many requests", Verdict.OVERLOADED),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", Verdict.LATE),
    ("NOT_FOUND", "Request for unknown model: 'x' is not found", Verdict.MISSING),
    ("NOT_FOUND", "Request for unknown model: 'x' has no available versions", Verdict.MISSING),
    ("INVALID_ARGUMENT", "[request id: 1] unexpected shape for input 'p' for model 'x'. Expected [-1,224,224,3], got [1,9,9,3]", Verdict.REFUSED),
    ("INVALID_ARGUMENT", "inference request batch-size must be <= 8 for 'x'", Verdict.REFUSED),
    ("INVALID_ARGUMENT", "input byte size mismatch for input 'p' for model 'x'. Expected 192, got 0", Verdict.REFUSED),
    ("INVALID_ARGUMENT", "inference input 'p' data-type is 'FP32', but model 'x' expects 'UINT8'", Verdict.REFUSED),
    ("INVALID_ARGUMENT", "unexpected inference output 'nonsense' for model 'x'", Verdict.REFUSED),
    ("INVALID_ARGUMENT", "expected 1 inputs but got 0 inputs for model 'x'", Verdict.REFUSED),
    ("INVALID_ARGUMENT", "Unable to find shared memory region: 'psm_1'", Verdict.UNSHARED),
    ("INTERNAL", "onnx runtime error: Non-zero status code returned", Verdict.FAULT),
    ("INTERNAL", "Stub process 'x_0_0' is not healthy.", Verdict.FAULT),
    ("UNKNOWN", "whatever", Verdict.FAULT),
]


@pytest.mark.parametrize(("status", "message", "verdict"), HEARD, ids=[message[:40] for _, message, _ in HEARD])
def test_what_was_heard_means(status: str, message: str, verdict: Verdict) -> None:
    assert classify(f"StatusCode.{status}", message) is verdict


def test_what_the_client_itself_refuses_is_the_requests_fault() -> None:
    assert classify(None, "got unexpected datatype FP32 from numpy array, expected UINT8") is Verdict.REFUSED


def test_a_status_that_nobody_has_seen_yet_counts_as_a_fault() -> None:
    assert classify("StatusCode.DATA_LOSS", "?") is Verdict.FAULT


def test_a_refusal_is_one_line() -> None:
    assert Refusal(Verdict.FAULT, "a\n  b" + "c" * 1000).said.startswith("a bc")
    assert len(Refusal(Verdict.FAULT, "c" * 1000).said) == 300
