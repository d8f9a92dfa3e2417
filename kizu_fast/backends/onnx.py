"""onnxruntime: cpu, cuda, tensorrt and coreml differ by a list of providers, not by a class."""

import importlib
import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from kizu_fast.backends import Profile, Running, providers
from kizu_fast.backends.checks import Found, compare, one_line, prove
from kizu_fast.backends.opened import Opened, OpenModels
from kizu_fast.backends.providers import CPU, Limits
from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.backends.sessions import Outputs, Run, Shape, StaticSessions, bound, plain
from kizu_fast.errors import ConfigError, PermanentError, TransientError
from kizu_fast.specs import ModelSpec, Tensors, is_half

_SILENT = 4  # fatal only: errors reach us as exceptions, and a progress bar shares the terminal


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to run: the providers in order, and what to do when the first is not there."""

    device: str
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    mend: str
    lanes: int = 2  # batches in flight; cpu: one per core
    in_lanes: bool = False
    full_batches: bool = False
    half: bool = False  # takes the fp16 variant of a model where it is exported
    static: bool = False  # one session per bucket and batch size


_GPU_MEND = "install the GPU build with: pip install 'kizu-fast[gpu]' instead of [cpu] (never both), with NVIDIA's driver, CUDA 13 and cuDNN 9"
_CUDA = (providers.CUDA, {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"})

# Detectors gain nothing from batches on a CPU, CLIP a quarter (docs/decisions/007-lanes.md).
KINDS: Mapping[str, Kind] = {
    "cpu": Kind(
        "cpu",
        ((CPU, {}),),
        "reinstall onnxruntime: pip install 'kizu-fast[cpu]'",
        in_lanes=True,
    ),
    "cuda": Kind("cuda", (_CUDA, (CPU, {})), _GPU_MEND, full_batches=True, half=True),
    "tensorrt": Kind("cuda", ((providers.TENSORRT, {}), _CUDA, (CPU, {})), f"{_GPU_MEND}, and TensorRT's libraries", full_batches=True, half=True),
    "coreml": Kind(
        "coreml",
        ((providers.COREML, {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", "RequireStaticInputShapes": "1"}), (CPU, {})),
        "it needs a Mac and onnxruntime's macOS build; run with --backend cpu",
        static=True,
    ),
}


class OnnxBackend:
    """Sessions of one kind, shared by all lanes."""

    def __init__(  # noqa: PLR0913  # each is a choice of its own
        self,
        repository: ModelRepository,
        *,
        kind: str = "cpu",
        lanes: int = 1,
        executor: Executor | None = None,
        arena: bool = True,
        limits: Limits | None = None,
        runtime: ModuleType | None = None,
        kinds: Mapping[str, Kind] = KINDS,
    ) -> None:
        """Raises ConfigError when onnxruntime or the kind's provider is not installed.

        executor: threads to run in; without one the backend makes its own. arena=False is measured in docs/decisions/007-lanes.md.
        runtime: another build of onnxruntime than the installed one.
        """
        self._runtime, self._kind_name, self._kind = runtime or _onnxruntime(), kind, kinds[kind]
        require_provider(kind, self._kind, self._runtime)
        slots = lanes if self._kind.in_lanes else self._kind.lanes
        self.profile = Profile(lanes=slots, full_batches=self._kind.full_batches, in_lanes=self._kind.in_lanes)
        self._repository, self._arena, self._limits = repository, arena, limits or Limits()
        self._models = OpenModels(self._open, slots=slots, executor=executor if self._kind.in_lanes else None)
        self._runtime.set_default_logger_severity(_SILENT)

    async def load(self, spec: ModelSpec) -> None:
        """Open a session, compare it with the spec, prove it by an inference. Raises ConfigError naming model and cause."""
        await self._models.load(spec)

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> Outputs:
        """Raises PermanentError for inputs that the graph refuses, TransientError for everything else."""
        return await self._models.infer(spec, inputs)

    async def unload(self, spec: ModelSpec) -> None:
        """The memory is back with the system when this returns, or once batches under way have ended."""
        await self._models.unload(spec)

    async def close(self) -> None:
        """Release everything."""
        await self._models.close()

    def describe(self, spec: ModelSpec) -> Running:
        """Raises ConfigError if it is not loaded."""
        return self._models.describe(spec)

    def _open(self, spec: ModelSpec) -> Opened:
        half = self._repository.half(spec.name) if self._kind.half else None
        path, precision = (self._repository.path(spec.name), "fp32") if half is None else (half, "fp16")
        if self._kind.static:
            run, note = self._open_static(spec, path)
        else:
            run, note = self._open_free(spec, path, precision)
        running = Running(provider=self._kind.providers[0][0], device=self._kind.device, precision=precision, threads=1, note=note)
        return Opened(partial(_run, run), running)

    def _open_free(self, spec: ModelSpec, path: Path, precision: str) -> tuple[Run, str | None]:
        """One session for all shapes, and which of its nodes run on the CPU."""
        chosen = providers.options(self._kind.providers, spec, self._limits, precision=precision)
        accelerated = not self._kind.in_lanes
        with tempfile.TemporaryDirectory(prefix="kizu-profile-") as folder:
            session = self._session(spec, path, chosen, profile=Path(folder) if accelerated else None)
            self._check(session, spec)
            run = bound(self._runtime, session, self._kind.device) if accelerated else plain(session)
            prove(spec, self._kind_name, partial(_run, run))
            note = _placement(session) if accelerated else None
        return run, note

    def _open_static(self, spec: ModelSpec, path: Path) -> tuple[Run, str | None]:
        """A session per bucket, batch 1, now; other batches when they come. The largest bucket must run on the provider itself."""
        chosen = providers.options(self._kind.providers, spec, self._limits, precision="fp32")
        cpu = [(CPU, dict[str, str]())]
        sessions = StaticSessions(
            lambda shape: self._session(spec, path, chosen, shape=shape),
            lambda shape: self._session(spec, path, cpu, shape=shape, check=False),
            (ConfigError, *refusals()),
            sizes=sorted({1, self.profile.largest_batch(spec)}),
        )
        last = Shape(spec.buckets[-1] if spec.buckets else None, 1)
        prove(spec, self._kind_name, partial(_run, sessions.run))
        if last in sessions.fallen_back:
            raise ConfigError(f"backend {self._kind_name}: {spec.name} does not run there: {sessions.fallen_back[last]}; {self._kind.mend}")
        for bucket in spec.buckets:
            sessions.open(Shape(bucket, 1))
        fallen = "; ".join(f"{shape} on the CPU: {why}" for shape, why in sessions.fallen_back.items())
        return sessions.run, fallen or None

    def _session(
        self,
        spec: ModelSpec,
        path: Path,
        chosen: providers.Providers,
        *,
        shape: Shape | None = None,
        profile: Path | None = None,
        check: bool = True,
    ) -> Any:  # onnxruntime has no types
        options = self._options(shape, profile, half=is_half(path.parents[1].name), apart=spec.apart)
        for folder in providers.cache_folders(chosen):
            _make(folder)
        try:
            session = self._runtime.InferenceSession(str(path), options, providers=chosen)
        except refusals() as error:
            raise ConfigError(f"{path} cannot be loaded: {one_line(error)}; run: {export_command(spec.name)}") from error
        actual = session.get_providers()[0]
        if check and actual != self._kind.providers[0][0]:  # onnxruntime falls back to the CPU with no more than a warning
            raise ConfigError(f"backend {self._kind_name}: onnxruntime would run {spec.name} on {actual} instead; {self._kind.mend}")
        return session

    def _options(self, shape: Shape | None, profile: Path | None, *, half: bool, apart: bool) -> Any:
        options, levels = self._runtime.SessionOptions(), self._runtime.GraphOptimizationLevel
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the lanes are the parallelism
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # beyond EXTENDED lie layouts for the CPU alone; those of fp16 convolutions end in a segmentation fault (1.32)
        options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if half else levels.ORT_ENABLE_ALL
        # The arena keeps the largest batch ever seen: with bounded batches that is flat. What a captioner takes is lent for its seconds alone.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = self._arena and not apart
        if apart:  # packed weights lie beside the others and gain a loop nothing: docs/decisions/012-describe.md
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = _SILENT
        if shape is not None:
            sizes = {"batch": shape.batch} | dict(zip(("height", "width"), shape.bucket or (), strict=False))
            for name, size in sizes.items():  # the export names the free axes so
                options.add_free_dimension_override_by_name(name, size)
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile / "first")
        return options

    @staticmethod
    def _check(session: Any, spec: ModelSpec) -> None:
        compare(spec, "input", spec.inputs, _found(session.get_inputs()))
        compare(spec, "output", spec.outputs, _found(session.get_outputs()))


def require_provider(name: str, kind: Kind, runtime: ModuleType | None = None) -> None:
    """Raises ConfigError when onnxruntime, or the provider that a kind asks for first, is not installed. That it is says nothing about a device."""
    wanted = kind.providers[0][0]
    if wanted not in (runtime or _onnxruntime()).get_available_providers():
        raise ConfigError(f"backend {name}: this onnxruntime has no {wanted}; {kind.mend}")


def _run(run: Run, spec: ModelSpec, inputs: Tensors) -> Outputs:
    try:
        return run(spec, inputs)
    except (_state().InvalidArgument, ValueError, TypeError) as error:
        raise PermanentError(f"{spec.name}: the graph refuses its input: {one_line(error)}") from error
    except refusals() as error:
        raise TransientError(f"{spec.name}: {one_line(error)}") from error


def _found(nodes: list[Any]) -> dict[str, Found]:
    names = {node.name: node.type.removeprefix("tensor(").removesuffix(")") for node in nodes}
    return {node.name: Found("float32" if names[node.name] == "float" else names[node.name], node.shape) for node in nodes}


def _placement(session: Any) -> str | None:
    """What the profile of the first inference says of nodes on the CPU; None when there are none. Ends the profile."""
    path = Path(session.end_profiling())
    left = providers.left_on_cpu(json.loads(path.read_text(encoding="utf-8")))
    path.unlink()
    return None if not left else f"{sum(left.values())} nodes on the CPU: {', '.join(f'{kind} {count}' for kind, count in left.items())}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; compiled engines are kept there, set KIZU_DATA_DIR to a folder you can write") from error


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
