"""kizu_fast/backends/onnx.py: a slow model has a thread of its own, which takes only what the lanes leave."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def image_tower(tiny: ModelRepository) -> str:
    return next(name for name in tiny.names() if name.endswith("image"))


def test_a_slow_model_runs_in_its_own_thread_and_the_others_in_the_lanes(tiny: ModelRepository) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(2, thread_name_prefix="lane") as lanes:
            backend = OnnxBackend(tiny, lanes=2, executor=lanes)
            spec = tiny.spec(image_tower(tiny))
            await backend.load(spec)
            rows = {"pixels": np.full((2, *spec.inputs[0].shape), 7, np.uint8)}
            usual = await backend.infer(spec, rows)
            assert not backend._apart._threads
            slow = await backend.infer(replace(spec, apart=True), rows)
            (thread,) = backend._apart._threads
            assert thread.name.startswith("apart")
            assert all(np.array_equal(slow[name], usual[name]) for name in usual)
            await backend.close()
            assert not thread.is_alive()

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness belongs to the process")
def test_its_thread_yields_to_the_lanes_and_to_nobody_s_surprise_the_process_does_not(tiny: ModelRepository) -> None:
    async def main() -> None:
        backend = OnnxBackend(tiny)
        spec = replace(tiny.spec(image_tower(tiny)), apart=True)
        before = os.getpriority(os.PRIO_PROCESS, 0)
        await backend.load(spec)
        await backend.infer(spec, {"pixels": np.zeros((1, *spec.inputs[0].shape), np.uint8)})
        (thread,) = backend._apart._threads
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == min(before + 10, 19)
        assert os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id or 0) == before
        await backend.close()

    run(main)
