"""/metrics of a real worker: every documented name is there, the numbers are those of the work, and only this machine can ask."""

import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from faults.rig import Rig, free_port, health, until
from prometheus_client.parser import text_string_to_metric_families

from kizu_fast.worker import metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        families = text_string_to_metric_families(reply.read().decode())
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_a_worker_at_work_tells_queue_stages_batches_and_state(rig: Rig, library: Path) -> None:
    rig.line.json("ingest", *sorted((library / "few").iterdir())[:40])
    port = free_port()
    worker = rig.worker("--metrics-port", port)
    until(lambda: rig.done() == 40, "all photos are done")

    def settled() -> Samples | None:
        found = read(port)
        return found if found.get(("kizu_attempts_total", (("ending", "completed"),))) == 40 else None

    samples = until(settled, "the worker has counted them")
    assert samples is not None
    names = {name for name, _ in samples}
    assert documented() <= {re.sub("_(sum|count)$", "", name) for name in names} | names
    assert samples["kizu_attempts_total", (("ending", "lost"),)] == 0
    assert samples["kizu_stage_seconds_count", (("stage", "decode"),)] == 40
    assert samples["kizu_claim_seconds_count", ()] >= 1
    assert samples["kizu_model_inferences_total", (("model", "fake-yolo"),)] == 40
    assert 0 < samples["kizu_batch_fill", (("model", "fake-clip-image"),)] <= 1
    assert samples["kizu_up", (("service", "database"),)] == samples["kizu_up", (("service", "services"),)] == 1
    assert any(name == "kizu_backend" and ("provider", "fake") in labels for name, labels in samples)

    until(lambda: read(port).get(("kizu_queue_jobs", (("status", "pending"),))) == 0, "the queue is seen empty", 20)
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    with pytest.raises(urllib.error.URLError):
        read(port)


def test_health_tells_of_a_database_that_is_gone_and_of_its_return(rig: Rig) -> None:
    port = free_port()
    worker = rig.worker("--metrics-port", port)
    until(lambda: health(port)[0] == 200, "the worker is up")
    for process in rig.servers():
        process.suspend()
    code, told = until(lambda: found if (found := health(port))[0] == 503 else None, "the worker tells of the outage")
    assert (code, told["status"], told["checks"]) == (503, "degraded", {"database": "no answer", "services": "ok"})
    for process in rig.servers():
        process.resume()
    until(lambda: health(port)[0] == 200, "the worker tells of the return")
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0


def test_a_port_that_is_taken_is_told_and_nothing_is_claimed(rig: Rig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = rig.worker("--metrics-port", port, "--drain")

        assert worker.ended() == 1
    assert worker.said(f"/metrics cannot be served on 127.0.0.1:{port}")


def documented() -> set[str]:
    """The names in the module's own table."""
    return set(re.findall(r"kizu_\w+", (metrics.__doc__ or "").replace("`", " ")))
