"""Bare models: onnxruntime sessions without batcher, loop or preprocessing. The yardstick that the engine is held against."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

Batch = Mapping[str, NDArray[Any]]  # (B, *shape) by input name


def open_session(path: Path, *, threads: int = 1, arena: bool = True) -> Any:  # onnxruntime has no types
    """With the engine's own options unless said otherwise: no spinning, all graph optimisations, an arena."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True)
class Bare:
    """Models to run side by side: lanes threads, each with 1-thread sessions of its own, take batches off one list."""

    paths: Mapping[str, Path]
    lanes: int
    sessions: Sequence[Mapping[str, Any]]

    @classmethod
    def open(cls, paths: Mapping[str, Path], lanes: int) -> "Bare":
        """One session per model and lane: sharing one is up to 5 % dearer, and a yardstick makes no savings."""
        return cls(paths, lanes, [{name: open_session(path) for name, path in paths.items()} for _ in range(lanes)])

    def run(self, work: Sequence[tuple[str, Batch]]) -> float:
        """Blocks. Seconds from the first inference to the end of the last."""
        todo: queue.SimpleQueue[tuple[str, Batch]] = queue.SimpleQueue()
        for item in work:
            todo.put(item)
        ready = threading.Barrier(self.lanes + 1)

        def lane(sessions: Mapping[str, Any]) -> None:
            ready.wait()
            while True:
                try:
                    name, inputs = todo.get_nowait()
                except queue.Empty:
                    return
                sessions[name].run(None, inputs)

        with ThreadPoolExecutor(self.lanes) as threads:
            running = [threads.submit(lane, sessions) for sessions in self.sessions]
            ready.wait()
            started = time.perf_counter()
            for one in running:
                one.result()
            return time.perf_counter() - started


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of this thread while run() runs: all of the cost of a 1-thread session, whatever else the machine does."""
    started = time.thread_time()
    run()
    return time.thread_time() - started
