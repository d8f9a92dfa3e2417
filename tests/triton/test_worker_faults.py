"""What happens to a Triton server in a run costs no photo an attempt; what a photo does to a model costs only that photo."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.rig import Rig, WorkerProcess, free_port, health, pass_time, until
from triton.conftest import IMAGE, PHOTOS, POISON
from triton.server import TritonServer

pytestmark = pytest.mark.triton


@pytest.fixture
def slow(mood_of_clip: Callable[[str], None]) -> Iterator[None]:
    """A model slow enough for something to happen in the run."""
    mood_of_clip("slow")
    yield
    mood_of_clip("ok")


@pytest.fixture
def port() -> int:
    """Of the worker's /health."""
    return free_port()


@pytest.fixture
def in_the_midst(rig: Rig, library: Path, slow: None, port: int) -> WorkerProcess:
    """A worker that has done some of its photos and has others in hand."""
    rig.ingest(library, PHOTOS)
    worker = rig.worker(
        "--drain", "--backend", "triton", "--metrics-port", port, BATCH_SIZE="2"
    )  # many batches: the run lasts for as long as something happens in it
    until(lambda: rig.done() >= 8 and rig.held(worker), f"a worker in the midst of its work: {worker.said()[-5:]}")
    return worker


def test_a_killed_server_that_comes_back_costs_no_attempt(rig: Rig, light: TritonServer, in_the_midst: WorkerProcess, port: int) -> None:
    assert health(port)[0] == 200
    light.kill()
    until(lambda: in_the_midst.said("event=paused"), "the pause")
    code, told = health(port)
    assert (code, told["status"], told["checks"]) == (503, "degraded", {"database": "ok", "services": "no answer"})
    assert "no Triton server answers" in in_the_midst.said("event=paused")[0]
    done = rig.done()
    pass_time(1.0)
    assert rig.done() == done
    light.start()
    assert in_the_midst.report()["retried"] == 0
    rig.sound(PHOTOS)


def test_a_server_that_stands_still_costs_no_attempt(rig: Rig, light: TritonServer, in_the_midst: WorkerProcess, port: int) -> None:
    light.send(signal.SIGSTOP)
    since = time.monotonic()
    until(lambda: health(port)[0] == 503, "/health tells of a server that does not answer", 30)
    pass_time(30.0 - (time.monotonic() - since))
    light.send(signal.SIGCONT)
    assert in_the_midst.report()["retried"] == 0
    rig.sound(PHOTOS)


def test_a_models_process_that_was_killed_is_started_again(rig: Rig, light: TritonServer, in_the_midst: WorkerProcess) -> None:
    (process,) = light.models(IMAGE)
    process.kill()
    assert in_the_midst.report()["retried"] == 0
    assert in_the_midst.said("a model is broken on Triton and loaded again")
    rig.sound(PHOTOS)


def test_a_model_that_was_unloaded_is_loaded_again(rig: Rig, light: TritonServer, in_the_midst: WorkerProcess) -> None:
    light.unload(IMAGE)
    assert in_the_midst.report()["retried"] == 0
    rig.sound(PHOTOS)


def test_full_queues_slow_the_worker_down_and_fail_nothing(rig: Rig, library: Path, small: Path, light: TritonServer, slow: None) -> None:
    config = small / IMAGE / "config.pbtxt"
    light.stop()
    config.write_text(config.read_text().replace("max_queue_size: 128", "max_queue_size: 1"))
    light.start()
    rig.ingest(library, PHOTOS)
    crew = [rig.worker("--drain", "--backend", "triton") for _ in range(3)]
    assert [worker.ended() for worker in crew] == [0, 0, 0]
    rig.sound(PHOTOS)


def test_photos_that_the_model_fails_over_fail_alone(rig: Rig, library: Path, mood_of_clip: Callable[[str], None]) -> None:
    """One makes it raise, one brings NaN out of it, one a wrong shape: each in a batch with photos that are well."""
    mood_of_clip("poison")
    rig.ingest(library, PHOTOS)
    report = rig.worker("--drain", "--backend", "triton").report()
    assert (report["completed"], report["failed"], report["retried"]) == (PHOTOS - len(POISON), len(POISON), 0)
    for number in range(len(POISON)):
        shown = rig.line.json("show", library / f"{number:04}.png")
        assert (shown["job"]["status"], shown["job"]["attempts"], shown["embedding"]) == ("failed", 1, None)
        assert shown["job"]["error"].startswith(f"embedding: {IMAGE}: the model fails over this photo")
        assert [found["label"] for found in shown["objects"]] == ["person"]  # what the other model said of it stays


def test_a_model_that_answers_nonsense_for_a_while_costs_no_attempt(
    rig: Rig, in_the_midst: WorkerProcess, mood_of_clip: Callable[[str], None]
) -> None:
    for paused, mood in enumerate(("nan", "shape", "raise"), start=1):
        mood_of_clip(mood)
        until(lambda paused=paused: len(in_the_midst.said("event=paused")) == paused, f"the pause for {mood}")
        assert "is broken on Triton" in in_the_midst.said("event=paused")[-1]
        mood_of_clip("slow")
        until(lambda paused=paused: len(in_the_midst.said("event=resumed")) == paused, "the work going on")
    assert in_the_midst.report()["retried"] == 0
    rig.sound(PHOTOS)
    assert rig.value("select count(*) from image_embeddings where embedding::text like '%NaN%'") == 0
