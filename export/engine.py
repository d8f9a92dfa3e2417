"""TensorRT itself: an ONNX graph to a plan, and a plan to answers. Needs the tensorrt package, cuda-python and a GPU; imported only where they are.

Written against NVIDIA's Python API of TensorRT 10 and 11 (Builder, OnnxParser, IProgressMonitor, ITimingCache, execute_async_v3).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from export import graph, half
from kizu_fast.backends.checks import one_line
from kizu_fast.backends.providers import ShapeProfile
from kizu_fast.errors import ConfigError
from kizu_fast.specs import DTYPES, ModelSpec, is_half

Say = Callable[[str], None]
WORKSPACE_BYTES = 4 << 30


class _Progress(trt.IProgressMonitor):  # type: ignore[misc]  # tensorrt has no types here
    """Tells the outermost phase in tenths; TensorRT calls it from its own threads."""

    def __init__(self, say: Say) -> None:
        trt.IProgressMonitor.__init__(self)  # the bindings demand this very form
        self._say, self._steps, self._told = say, dict[str, int](), dict[str, int]()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """A phase begins."""
        if parent_phase is None:
            self._steps[phase_name] = max(num_steps, 1)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """True: go on."""
        if phase_name in self._steps:
            tenth = 10 * (step + 1) // self._steps[phase_name]
            if tenth > self._told.get(phase_name, 0):
                self._told[phase_name] = tenth
                self._say(f"{phase_name} {10 * tenth} %")
        return True

    def phase_finish(self, phase_name: str) -> None:
        """A phase is over."""
        self._steps.pop(phase_name, None)


def build(path: Path, profiles: Sequence[ShapeProfile], timing: Path, say: Say) -> bytes:
    """The serialised plan. timing: file with the measurements of earlier builds, read and written. Raises ConfigError with TensorRT's own words."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    flags = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # TensorRT 11 knows no other kind and may drop the flag
    network = builder.create_network(0 if flags is None else 1 << int(flags))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        words = "; ".join(one_line(RuntimeError(parser.get_error(i).desc())) for i in range(min(parser.num_errors, 3)))
        raise ConfigError(f"{path}: TensorRT cannot read it: {words}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.progress_monitor = _Progress(say)
    for profile in profiles:
        shapes = builder.create_optimization_profile()
        for name, smallest in profile.smallest.items():
            shapes.set_shape(name, smallest, profile.best[name], profile.largest[name])
        config.add_optimization_profile(shapes)
    cache = config.create_timing_cache(timing.read_bytes() if timing.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ConfigError(f"{path}: TensorRT could not build a plan; its log stands above")
    timing.write_bytes(bytes(memoryview(config.get_timing_cache().serialize())))
    return bytes(memoryview(plan))


def agreement(plan: Path, onnx_path: Path, spec: ModelSpec) -> dict[str, Any]:
    """Figures of the plan against the very graph it was built from, in onnxruntime on the CPU: one row per profile."""
    runner, session = Runner(plan), half.session(onnx_path) if is_half(onnx_path.parents[1].name) else graph.Session(onnx_path)
    rows = half.rows(spec, onnx_path.parents[1] / "tokenizer.json")
    return half.figures(spec, [session.run(spec.stack([row])) for row in rows], [runner.run(spec, spec.stack([row])) for row in rows])


def demand(name: str, spec: ModelSpec, figures: Mapping[str, Any]) -> None:
    """Raises ConfigError when the plan is not the graph, by the gates of fp16."""
    half.demand(name, spec.family, figures)


class Runner:
    """A plan on the GPU, one batch at a time, through cuda-python's runtime API."""

    def __init__(self, plan: Path) -> None:
        """Raises ConfigError when TensorRT refuses the plan."""
        from cuda.bindings import runtime  # noqa: PLC0415  # comes with the GPU extra

        self._cuda = runtime
        engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan.read_bytes())
        if engine is None:
            raise ConfigError(f"{plan}: TensorRT refuses its own plan")
        self._engine, self._context = engine, engine.create_execution_context()

    def run(self, spec: ModelSpec, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """One batch in, its outputs by name. Raises ConfigError for a CUDA error."""
        stream = self._call(self._cuda.cudaStreamCreate())
        shape = next(iter(inputs.values())).shape[1:3]
        wanted = next((i for i, bucket in enumerate(spec.buckets) if bucket == shape), 0)
        self._context.set_optimization_profile_async(wanted, stream)
        outputs = {tensor.name: np.empty((len(next(iter(inputs.values()))), *tensor.shape), DTYPES[tensor.dtype]) for tensor in spec.outputs}
        held = {name: self._call(self._cuda.cudaMalloc(value.nbytes)) for name, value in {**inputs, **outputs}.items()}
        try:
            for name, value in inputs.items():
                self._copy(held[name], np.ascontiguousarray(value).ctypes.data, value.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
                self._context.set_input_shape(name, value.shape)
            for name, address in held.items():
                self._context.set_tensor_address(name, int(address))
            if not self._context.execute_async_v3(stream):
                raise ConfigError(f"{spec.name}: TensorRT does not run the plan")
            self._call(self._cuda.cudaStreamSynchronize(stream))
            for name, value in outputs.items():
                self._copy(value.ctypes.data, held[name], value.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)
        finally:
            for address in held.values():
                self._cuda.cudaFree(address)
            self._cuda.cudaStreamDestroy(stream)
        return dict(outputs)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        self._call(self._cuda.cudaMemcpy(target, source, size, kind))

    @staticmethod
    def _call(answer: tuple[Any, ...]) -> Any:
        """cuda-python answers (error, value) or (error,)."""
        error, *value = answer
        if int(error):
            raise ConfigError(f"CUDA: {error}")
        return value[0] if value else None
