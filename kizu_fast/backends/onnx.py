"""onnxruntime: cpu, cuda, tensorrt and coreml differ by a list of providers, not by a class."""

import asyncio
import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kizu_fast.backends import Profile, Running
from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.errors import ConfigError, PermanentError, TransientError
from kizu_fast.specs import DTYPES, ModelSpec, Tensors, TensorSpec

_CPU = "CPUExecutionProvider"
_SILENT = 4  # fatal only: errors reach us as exceptions, and a progress bar shares the terminal
_GREY = 114
_NICEST = 19
_NICE = 10  # a tenth of the time that a lane gets when they want the same core


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to run: the providers in order, and what to do when the first is not there."""

    device: str
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    mend: str
    lanes: int = 2  # batches in flight; cpu: one per core
    in_lanes: bool = False
    full_batches: bool = False


_GPU_MEND = "install the GPU build with: pip install 'kizu-fast[gpu]' instead of [cpu] (never both), with NVIDIA's driver, CUDA 13 and cuDNN 9"
_CUDA = ("CUDAExecutionProvider", {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"})

# Detectors gain nothing from batches on a CPU, CLIP a quarter (docs/decisions/007-lanes.md).
KINDS: Mapping[str, Kind] = {
    "cpu": Kind(
        "cpu",
        ((_CPU, {}),),
        "reinstall onnxruntime: pip install 'kizu-fast[cpu]'",
        in_lanes=True,
    ),
    "cuda": Kind("cuda", (_CUDA, (_CPU, {})), _GPU_MEND, full_batches=True),
    "tensorrt": Kind("cuda", (("TensorrtExecutionProvider", {}), _CUDA, (_CPU, {})), f"{_GPU_MEND}, and TensorRT's libraries", full_batches=True),
    "coreml": Kind(
        "coreml",
        (("CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"}), (_CPU, {})),
        "it needs a Mac and onnxruntime's macOS build; run with --backend cpu",
    ),
}


@dataclass(frozen=True, slots=True)
class _Loaded:
    session: Any  # onnxruntime.InferenceSession; run() is thread-safe, so all lanes share one and the weights exist once
    running: Running


class OnnxBackend:
    """Sessions of one kind, shared by all lanes."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        kind: str = "cpu",
        lanes: int = 1,
        executor: Executor | None = None,
        arena: bool = True,
        runtime: ModuleType | None = None,
    ) -> None:
        """Raises ConfigError when onnxruntime or the kind's provider is not installed.

        executor: threads to run in; without one the backend makes its own. arena=False is measured in docs/decisions/007-lanes.md.
        runtime: another build of onnxruntime than the installed one.
        """
        self._runtime, self._kind_name, self._kind = runtime or _onnxruntime(), kind, KINDS[kind]
        wanted = self._kind.providers[0][0]
        if wanted not in self._runtime.get_available_providers():
            raise ConfigError(f"backend {kind}: this onnxruntime has no {wanted}; {self._kind.mend}")
        slots = lanes if self._kind.in_lanes else self._kind.lanes
        self.profile = Profile(lanes=slots, full_batches=self._kind.full_batches, in_lanes=self._kind.in_lanes)
        self._repository, self._arena = repository, arena
        self._own = ThreadPoolExecutor(slots, thread_name_prefix="onnx") if executor is None or not self._kind.in_lanes else None
        self._executor: Executor = self._own or executor or ThreadPoolExecutor(slots)
        # Threads are made at first use: without a captioner there is none.
        self._apart = ThreadPoolExecutor(1, thread_name_prefix="apart", initializer=_yield_to_the_others)
        self._loaded: dict[str, _Loaded] = {}
        self._runtime.set_default_logger_severity(_SILENT)

    async def load(self, spec: ModelSpec) -> None:
        """Open a session, compare it with the spec, prove it by an inference. Raises ConfigError naming model and cause."""
        if spec.name not in self._loaded:
            self._loaded[spec.name] = await asyncio.get_running_loop().run_in_executor(self._executor, self._open, spec)

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        """Raises PermanentError for inputs that the graph refuses, TransientError for everything else."""
        loaded = self._loaded.get(spec.name)
        if loaded is None:
            raise TransientError(f"{spec.name}: not loaded")
        executor = self._apart if spec.apart else self._executor
        return await asyncio.get_running_loop().run_in_executor(executor, partial(self._run, loaded.session, spec, inputs))

    async def unload(self, spec: ModelSpec) -> None:
        """The memory is back with the system when this returns, or once batches under way have ended."""
        if self._loaded.pop(spec.name, None) is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, _give_back_freed_memory)

    async def close(self) -> None:
        """Release everything."""
        self._loaded.clear()
        for executor in (self._apart, self._own):
            if executor:
                await asyncio.to_thread(executor.shutdown, wait=True)

    def describe(self, spec: ModelSpec) -> Running:
        """Raises ConfigError if it is not loaded."""
        if spec.name not in self._loaded:
            raise ConfigError(f"{spec.name} is not loaded")
        return self._loaded[spec.name].running

    def _open(self, spec: ModelSpec) -> _Loaded:
        session = self._session(spec.name, self._repository.path(spec.name), pattern=not spec.apart)
        actual = session.get_providers()[0]
        if actual != self._kind.providers[0][0]:  # onnxruntime falls back to the CPU with no more than a warning
            raise ConfigError(f"backend {self._kind_name}: onnxruntime would run {spec.name} on {actual} instead; {self._kind.mend}")
        _compare(spec, "input", spec.inputs, session.get_inputs())
        _compare(spec, "output", spec.outputs, session.get_outputs())
        self._prove(session, spec)
        _give_back_freed_memory()
        return _Loaded(session, Running(provider=actual, device=self._kind.device, precision="fp32", threads=1))

    def _session(self, name: str, path: Path, *, pattern: bool = True) -> Any:  # onnxruntime has no types
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the lanes are the parallelism
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_cpu_mem_arena = self._arena  # it keeps the largest batch ever seen: with bounded batches that is flat
        options.enable_mem_pattern = self._arena and pattern  # off: a captioner takes 270 MB less and as long (docs/decisions/012-describe.md)
        options.log_severity_level = _SILENT
        providers = [(provider, dict(settings)) for provider, settings in self._kind.providers]
        try:
            return self._runtime.InferenceSession(str(path), options, providers=providers)
        except refusals() as error:
            raise ConfigError(f"{path} cannot be loaded: {_one_line(error)}; run: {export_command(name)}") from error

    def _prove(self, session: Any, spec: ModelSpec) -> None:
        """One inference on grey. Raises ConfigError when it fails, or when the outputs are not what the spec says."""
        shaped = spec.at(spec.buckets[-1]) if spec.buckets else spec
        row = {tensor.name: np.full(tensor.shape, _GREY if tensor.dtype == "uint8" else 0, DTYPES[tensor.dtype]) for tensor in shaped.inputs}
        try:
            outputs = self._run(session, shaped, shaped.stack([row]))
        except (PermanentError, TransientError) as error:
            raise ConfigError(f"{spec.name} does not run on {self._kind_name}: {error}; run: {export_command(spec.name)}") from error
        for tensor in spec.outputs:
            got = outputs[tensor.name]
            fits = got.ndim == len(tensor.shape) + 1 and all(want in (-1, have) for want, have in zip((1, *tensor.shape), got.shape, strict=True))
            if not fits or got.dtype != DTYPES[tensor.dtype]:
                raise ConfigError(f"{spec.name}.{tensor.name}: the graph gives {got.dtype} {list(got.shape[1:])}, expected {_written(tensor)}")
            if not np.isfinite(got).all():
                raise ConfigError(f"{spec.name}.{tensor.name}: not finite on {self._kind_name}; run: {export_command(spec.name)}")

    def _run(self, session: Any, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        names = [tensor.name for tensor in spec.outputs]
        try:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except (_state().InvalidArgument, ValueError, TypeError) as error:
            raise PermanentError(f"{spec.name}: the graph refuses its input: {_one_line(error)}") from error
        except refusals() as error:
            raise TransientError(f"{spec.name}: {_one_line(error)}") from error


def _compare(spec: ModelSpec, role: str, wanted: Sequence[TensorSpec], nodes: Sequence[Any]) -> None:
    """Raises ConfigError naming model and field unless the graph's tensors are those of the spec, the batch axis free."""
    found = {node.name: node for node in nodes}
    if set(found) != {tensor.name for tensor in wanted}:
        names = ", ".join(tensor.name for tensor in wanted)
        raise ConfigError(f"{spec.name}: {role}s are {', '.join(found)}, expected {names}; run: {export_command(spec.name)}")
    for tensor in wanted:
        node = found[tensor.name]
        dtype = "float32" if node.type == "tensor(float)" else node.type.removeprefix("tensor(").removesuffix(")")
        free = len(node.shape) > 0 and not isinstance(node.shape[0], int)
        if dtype != tensor.dtype or not free or not _fits(tensor.shape, node.shape[1:], role):
            shape = f"{dtype} {node.shape}"
            raise ConfigError(
                f"{spec.name}.{tensor.name}: the graph has {shape}, expected {_written(tensor)} behind a free batch axis; "
                f"run: {export_command(spec.name)}"
            )


def _fits(wanted: Sequence[int], shape: Sequence[object], role: str) -> bool:
    """A dimension that varies must be free in the graph; a fixed one must be equal, and in an output it may be left open."""
    if len(wanted) != len(shape):
        return False
    return all(
        (have == want and want != -1) or (not isinstance(have, int) and (want == -1 or role == "output"))
        for want, have in zip(wanted, shape, strict=True)
    )


def _written(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _onnxruntime() -> ModuleType:
    """Imported at first use: it takes a third of a second, and a client of Triton does without it."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ConfigError("onnxruntime is not installed; run: pip install 'kizu-fast[cpu]' or 'kizu-fast[gpu]'") from error


def _state() -> ModuleType:
    return importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")


def refusals() -> tuple[type[Exception], ...]:
    """Whatever onnxruntime raises. Its own exceptions share no base class."""
    own = [value for value in vars(_state()).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError, MemoryError)


def _yield_to_the_others() -> None:
    """Let the calling thread take only what the lanes leave of the cores. On Linux every thread has a niceness of its own; elsewhere it is the process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + _NICE, _NICEST))


def _give_back_freed_memory() -> None:
    """Loading leaves up to twice the weights freed but unreturned in glibc's heap: 235 MB for CLIP ViT-B/32. Unloading leaves some of them."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
