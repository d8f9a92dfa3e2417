"""kizu_fast/backends/opened.py: models open in this process. A slow one has a thread of its own, which takes only what the lanes leave."""

import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from kizu_fast.backends import Running
from kizu_fast.backends.fake import IMAGE
from kizu_fast.backends.opened import Opened, OpenModels
from kizu_fast.backends.sessions import Outputs
from kizu_fast.errors import ConfigError, TransientError
from kizu_fast.specs import ModelSpec, Tensors

SLOW = replace(IMAGE, name="slow", apart=True)
ROWS = {"pixels": np.zeros((2, 4), np.uint8)}


class Seen:
    """What was opened, and which threads ran it."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.threads: list[threading.Thread] = []
        self.niceness: list[int] = []

    def open_one(self, spec: ModelSpec) -> Opened:
        if spec.name == "broken":
            raise ConfigError("broken does not fit")
        self.opened.append(spec.name)
        return Opened(self.run, Running(provider="test", device="cpu", precision="fp32", threads=1))

    def run(self, spec: ModelSpec, inputs: Tensors) -> Outputs:
        self.threads.append(threading.current_thread())
        self.niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return {"rows": np.array([len(inputs["pixels"])])}


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def models(seen: Seen) -> AsyncIterator[OpenModels]:
    with ThreadPoolExecutor(2, thread_name_prefix="lane") as lanes:
        models = OpenModels(seen.open_one, slots=2, executor=lanes)
        yield models
        await models.close()


async def test_a_model_is_opened_once_runs_in_a_lane_and_is_gone_when_unloaded(models: OpenModels, seen: Seen) -> None:
    await models.load(IMAGE)
    await models.load(IMAGE)
    outputs = await models.infer(IMAGE, ROWS)

    assert seen.opened == [IMAGE.name]
    assert outputs["rows"].tolist() == [2]
    assert seen.threads[0].name.startswith("lane")
    assert models.describe(IMAGE).provider == "test"

    await models.unload(IMAGE)
    await models.unload(IMAGE)

    with pytest.raises(TransientError, match="not loaded"):
        await models.infer(IMAGE, ROWS)
    with pytest.raises(ConfigError, match="not loaded"):
        models.describe(IMAGE)


async def test_a_model_that_cannot_be_opened_is_not_loaded_and_may_be_tried_again(models: OpenModels) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="broken does not fit"):
            await models.load(replace(IMAGE, name="broken"))


async def test_a_slow_model_has_one_thread_of_its_own_that_ends_with_the_rest(models: OpenModels, seen: Seen) -> None:
    await models.load(SLOW)
    await models.load(IMAGE)
    for spec in (SLOW, IMAGE, SLOW):
        await models.infer(spec, ROWS)

    slow, usual, again = seen.threads
    assert slow is again
    assert slow.name.startswith("apart")
    assert usual.name.startswith("lane")

    await models.close()

    assert not slow.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness belongs to the process")
async def test_its_thread_yields_to_the_lanes_and_to_nobody_s_surprise_the_process_does_not(models: OpenModels, seen: Seen) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    for spec in (SLOW, IMAGE):
        await models.load(spec)
        await models.infer(spec, ROWS)

    assert seen.niceness == [min(before + 10, 19), before]
    assert os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id or 0) == before


async def test_without_lanes_to_share_it_makes_threads_and_ends_them(seen: Seen) -> None:
    models = OpenModels(seen.open_one, slots=1, executor=None)
    await models.load(IMAGE)
    await models.infer(IMAGE, ROWS)
    await models.close()

    assert not seen.threads[0].is_alive()
