"""Models that are open in this process, and the threads that run them: what onnxruntime and OpenVINO have in common."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from kizu_fast.backends import Running
from kizu_fast.backends.memory import give_back_freed_memory, return_large_blocks_at_once
from kizu_fast.backends.sessions import Outputs, Run
from kizu_fast.errors import ConfigError, TransientError
from kizu_fast.specs import ModelSpec, Tensors

_NICEST = 19
_NICE = 10  # a tenth of the time that a lane gets when they want the same core


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that was proved. run: one batch, blocking; raises PermanentError or TransientError. It is freed when nobody holds this."""

    run: Run
    running: Running


class OpenModels:
    """Opens, runs and frees models in threads. The methods are those of Backend."""

    def __init__(self, open_one: Callable[[ModelSpec], Opened], *, slots: int, executor: Executor | None) -> None:
        """open_one: blocks; raises ConfigError naming model and cause. executor: threads to run in; without one there are slots of its own."""
        self._open_one = open_one
        self._own = ThreadPoolExecutor(slots, thread_name_prefix="models") if executor is None else None
        self._executor = executor or self._own
        # Threads are made at first use: without a captioner there is none.
        self._apart = ThreadPoolExecutor(1, thread_name_prefix="apart", initializer=_yield_to_the_others)
        self._opened: dict[str, Opened] = {}

    async def load(self, spec: ModelSpec) -> None:
        """Nothing if it is open."""
        if spec.name not in self._opened:
            self._opened[spec.name] = await asyncio.get_running_loop().run_in_executor(self._executor, self._open, spec)

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> Outputs:
        """In the thread of slow models where the spec says so."""
        opened = self._opened.get(spec.name)
        if opened is None:
            raise TransientError(f"{spec.name}: not loaded")
        executor, run = (self._apart, partial(_run_and_give_back, opened.run)) if spec.apart else (self._executor, opened.run)
        return await asyncio.get_running_loop().run_in_executor(executor, run, spec, inputs)

    async def unload(self, spec: ModelSpec) -> None:
        """The memory is back with the system when this returns, or once batches under way have ended."""
        if self._opened.pop(spec.name, None) is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, give_back_freed_memory)

    async def close(self) -> None:
        """Release everything."""
        self._opened.clear()
        for executor in (self._apart, self._own):
            if executor:
                await asyncio.to_thread(executor.shutdown, wait=True)

    def describe(self, spec: ModelSpec) -> Running:
        """Raises ConfigError if it is not open."""
        if spec.name not in self._opened:
            raise ConfigError(f"{spec.name} is not loaded")
        return self._opened[spec.name].running

    def _open(self, spec: ModelSpec) -> Opened:
        if spec.apart:
            return_large_blocks_at_once()
        opened = self._open_one(spec)
        give_back_freed_memory()
        return opened


def _run_and_give_back(run: Run, spec: ModelSpec, inputs: Tensors) -> Outputs:
    try:
        return run(spec, inputs)
    finally:
        give_back_freed_memory()


def _yield_to_the_others() -> None:
    """Let the calling thread take only what the lanes leave of the cores. On Linux every thread has a niceness of its own; elsewhere it is the process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + _NICE, _NICEST))
