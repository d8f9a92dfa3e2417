"""The engine: lanes + backend + batchers + models, opened and closed as one.

The worker, the gateway, search and the benchmarks all see photos through this object; there is no second way.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from kizu_fast import imaging
from kizu_fast.analysis import Analysis, analyse
from kizu_fast.backends import Backend, Running, fake
from kizu_fast.backends.onnx import KINDS, OnnxBackend, require_provider
from kizu_fast.backends.openvino import OpenvinoBackend
from kizu_fast.backends.providers import Limits
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.backends.triton import TritonBackend
from kizu_fast.backends.triton_servers import addresses
from kizu_fast.batching import Batcher, Slots
from kizu_fast.builtin import Chosen, ExportedModels, FakeModels, Stock
from kizu_fast.catalogue import register_models
from kizu_fast.domain import ALL, Embedding, Operation, Photo, PhotoFacts, Result
from kizu_fast.errors import ConfigError, OperationUnavailable
from kizu_fast.gpu_decode import open_gpu_jpeg
from kizu_fast.lanes import Lanes, StageTime, Turns, available_cores
from kizu_fast.plan import plan
from kizu_fast.registry import Chain, ModelType, Prepared, Registry
from kizu_fast.specs import ModelSpec, Tensors

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

STAGES = ("decode", "preprocess", "infer", "postprocess")
LONG_SIDE: Mapping[str, int] = {Operation.OCR: 1280}  # operations that want more of a photo: pixels of its longer side (docs/decisions/010-ppocr.md)
TYPES: Mapping[str, ModelType] = {
    Operation.EMBEDDING: ModelType.EMBEDDER,
    Operation.OBJECTS: ModelType.DETECTOR,
    Operation.FACES: ModelType.FACE,
    Operation.OCR: ModelType.OCR,
    Operation.DESCRIBE: ModelType.VLM,
}
_OPTIONAL = frozenset({Operation.FACES, Operation.OCR, Operation.DESCRIBE})  # a library without them can be searched all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """The values that an engine needs, as the settings name them."""

    model_repository: Path
    backend: str = "cpu"
    chosen: Chosen = field(default_factory=Chosen)
    allow_random: bool = False
    operations: tuple[str, ...] = ALL  # their models are loaded and proved by open_engine
    lanes: int | None = None  # None: one per core that this process may use
    batch_size: int = 8  # no batch of any model is larger
    min_score: float = 0.25
    max_image_size: int = 2048  # pixels: no detector looks at a longer side
    max_pixels: int = 128_000_000
    max_file_bytes: int = 268_435_456
    decode: str = "scaled"  # scaled | exact | gpu: scaled there
    limits: Limits = field(default_factory=Limits)  # of accelerators
    triton_urls: str = "127.0.0.1:8001"  # host:port of gRPC, a comma list
    triton_shm: str = "auto"  # auto | on | off
    backend_wait_s: float = 0.0  # how long to wait at the start for a service that does not answer yet


@dataclass(frozen=True, slots=True)
class ModelTime:
    """What a model has cost so far. inferences: rows; executions: batches; seconds of execution."""

    inferences: int = 0
    executions: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Since the engine was opened. All four stages are always there."""

    stages: Mapping[str, StageTime]
    models: Mapping[str, ModelTime]


@dataclass(slots=True)
class _Serving:
    batcher: Batcher
    task: asyncio.Task[None]


class Engine:
    """Made by open_engine. Every method belongs to the loop that opened it; none blocks it."""

    def __init__(self, config: EngineConfig, *, registry: Registry, backend: Backend, stock: Stock, lanes: Lanes, jpeg: imaging.JpegDecoder) -> None:
        self.registry = registry
        self._jpeg = jpeg
        self._config, self._backend, self._stock, self._lanes = config, backend, stock, lanes
        self._slots: Slots = lanes.turns if backend.profile.in_lanes else Turns(backend.profile.lanes)
        self._apart: Slots = Turns(1)
        self._slots_of: dict[str, Slots] = {}  # by model, where the backend counts per model
        self._loaded: dict[tuple[str, str], Any] = {}  # (type, name) to a model whose spec the backend has proved
        self._loading: dict[tuple[str, str], asyncio.Lock] = {}
        self._serving: dict[tuple[str, tuple[int, int] | None], _Serving] = {}
        self._times: dict[str, ModelTime] = {}
        self._random: set[str] = set()
        self.unavailable: dict[str, str] = {}  # operations whose models could not be loaded, with the reason

    @property
    def lanes(self) -> int:
        """CPU threads that compute at once."""
        return self._lanes.count

    @property
    def photos_wanted(self) -> int:
        """Photos in flight that keep every lane busy and CLIP's batches full."""
        lanes = self._lanes.count if self._backend.profile.in_lanes else self._backend.profile.lanes
        specs = (spec for model in self._loaded.values() for spec in _specs(model))
        return 2 * lanes * max(map(self._largest_batch, specs), default=1)

    @property
    def space(self) -> str | None:
        """The vector space in which photos are embedded. None when there is no embedder."""
        return self.space_of(Operation.EMBEDDING)

    def space_of(self, operation: Operation) -> str | None:
        """The vector space that an operation fills. None when its models are not there, or make no vectors."""
        try:
            specs = _specs(self.registry.get(TYPES[operation]))
        except ConfigError:
            return None
        return next((spec.space for spec in specs if spec.space is not None), None)

    @property
    def random_models(self) -> tuple[str, ...]:
        """Loaded models with untrained weights: whatever they say is meaningless."""
        return tuple(sorted(self._random))

    def long_side(self, operations: Sequence[str]) -> int:
        """Pixels that a scaled decode keeps of the longer side, beside imaging.SHORT_SIDE of the shorter one."""
        return max((min(LONG_SIDE[operation], self._config.max_image_size) for operation in operations if operation in LONG_SIDE), default=1)

    async def decode(self, data: bytes, operations: Sequence[str] = ()) -> tuple[Photo, PhotoFacts]:
        """Bytes to an upright RGB photo, as large as the operations want it, and what its header says.

        Raises ImageUnreadable, ImageTooLarge; messages name no file.
        """
        config = self._config
        short_side = None if config.decode == "exact" else imaging.SHORT_SIDE
        work = partial(
            imaging.decode,
            max_pixels=config.max_pixels,
            max_bytes=config.max_file_bytes,
            short_side=short_side,
            long_side=self.long_side(operations),
            jpeg=self._jpeg,
        )
        return await self._lanes.run("decode", work, data)

    async def analyse(self, photo: Photo, operations: Sequence[str]) -> Analysis:
        """All operations on one photo. One that fails for good is in Analysis.failures; TransientError, Outage and ConfigError are raised."""
        return await analyse(photo, plan(operations), self)

    async def see(self, operation: Operation, photo: Photo) -> tuple[str, Result]:
        """One photo through the default model of an operation. Raises OperationUnavailable when its models could not be loaded."""
        if operation in self.unavailable:
            raise OperationUnavailable(self.unavailable[operation])
        model = await self._model(TYPES[operation])
        if isinstance(model, Chain):
            return model.name, await model.analyse(photo, self)
        return model.spec.name, await self.run(model, photo)

    async def run(self, part: Any, subject: Any) -> Any:
        """One row through one graph: preprocess, batch, infer, postprocess."""
        prepared: Prepared[Any] = await self._lanes.run("preprocess", part.prepare, subject)
        return await self._answer(part.spec, prepared)

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Pure computing between two graphs of a chain, in a lane."""
        return await self._lanes.run("preprocess", function, *args, **kwargs)

    async def embed_text(self, text: str, *, space: str | None = None) -> Embedding:
        """A text to a vector of the space (default: that of the configured text tower).

        Raises ConfigError when no text tower of that space is there, TransientError or Outage of the backend.
        """
        model = await self._model(ModelType.TEXT_EMBEDDER, None if space is None else self._text_tower(space))
        prepared: Prepared[Embedding] = await self._lanes.run_now("preprocess", model.prepare, text)
        return await self._answer(model.spec, prepared)

    async def load(self, kind: str, name: str | None = None) -> None:
        """Load and prove a model now. Raises ConfigError."""
        await self._model(kind, name)

    async def unload(self, kind: str, name: str) -> None:
        """Free a model's memory; photos that wait for it get BatcherStopped. The next use loads it again."""
        model = self._loaded.pop((kind, name), None)
        for spec in _specs(model):
            stopping = [key for key in self._serving if key[0] == spec.name]
            await self._stop([self._serving.pop(key) for key in stopping])
            await self._backend.unload(spec)
            self._random.discard(spec.name)
        self.registry.unload(kind, name)

    def running(self) -> Mapping[str, Running]:
        """What really runs each loaded model, by its name."""
        return {spec.name: self._backend.describe(spec) for model in list(self._loaded.values()) for spec in _specs(model)}

    def largest_batches(self) -> Mapping[str, int]:
        """Rows of the largest batch that is made of each loaded model, by its name."""
        return {spec.name: self._largest_batch(spec) for model in list(self._loaded.values()) for spec in _specs(model)}

    def stats(self) -> EngineStats:
        """Seconds and items per stage, rows and batches per model."""
        return EngineStats({stage: self._lanes.stages.get(stage, StageTime()) for stage in STAGES}, dict(self._times))

    async def close(self) -> None:
        """End batchers, backend and threads, in this order. Waiting photos get BatcherStopped."""
        serving = list(self._serving.values())
        self._serving.clear()
        await self._stop(serving)
        self._loaded.clear()
        await self._backend.close()
        self.registry.unload_all()
        await self._lanes.close()

    async def _model(self, kind: str, name: str | None = None) -> Any:  # a PhotoModel, a TextModel or a Chain, by its type
        key = (kind, self.registry.default(kind) if name is None else name)
        if key in self._loaded:
            return self._loaded[key]
        async with self._loading.setdefault(key, asyncio.Lock()):
            if key not in self._loaded:
                model = await asyncio.to_thread(self.registry.get, *key)
                for spec in _specs(model):
                    await self._backend.load(spec)
                    if self._stock.is_random(spec.name):
                        self._random.add(spec.name)
                self._loaded[key] = model
        return self._loaded[key]

    async def _answer(self, spec: ModelSpec, prepared: Prepared[T]) -> T:
        outputs = await self._batcher(spec, prepared.bucket).submit(prepared.tensors)
        return await self._lanes.run_now("postprocess", prepared.finish, outputs)

    def _batcher(self, spec: ModelSpec, bucket: tuple[int, int] | None) -> Batcher:
        """The batcher of one model and shape. One that died of a bug is replaced: the next photo may well be another matter."""
        serving = self._serving.get((spec.name, bucket))
        if serving is None or serving.batcher.stopped:
            shaped = spec if bucket is None else spec.at(bucket)
            largest, delay_s = self._largest_batch(spec), spec.max_delay_us / 1e6
            batcher = Batcher(shaped, self._infer, max_batch=largest, max_delay_s=delay_s, slots=self._slots_for(spec))
            task = asyncio.get_running_loop().create_task(batcher.run(), name=f"batches of {spec.name} {bucket or ''}")
            task.add_done_callback(partial(_report_death, spec.name))
            serving = self._serving[spec.name, bucket] = _Serving(batcher, task)
        return serving.batcher

    def _slots_for(self, spec: ModelSpec) -> Slots:
        profile = self._backend.profile
        if profile.per_model:
            return self._slots_of.setdefault(spec.name, Turns(profile.lanes))
        return self._apart if spec.apart else self._slots

    async def _infer(self, spec: ModelSpec, inputs: Tensors) -> Tensors:
        started = time.perf_counter()
        outputs = await self._backend.infer(spec, inputs)
        seconds, rows = time.perf_counter() - started, len(inputs[spec.inputs[0].name])
        self._lanes.note("infer", seconds, rows)
        before = self._times.get(spec.name, ModelTime())
        self._times[spec.name] = ModelTime(before.inferences + rows, before.executions + 1, before.seconds + seconds)
        return outputs

    def _largest_batch(self, spec: ModelSpec) -> int:
        return min(self._backend.profile.largest_batch(spec), self._config.batch_size)

    def _text_tower(self, space: str) -> str:
        """The name of the text tower of a space, registered if it was not. Raises ConfigError."""
        name = self.registry.default(ModelType.TEXT_EMBEDDER)
        with suppress(ConfigError):
            if self.registry.get(ModelType.TEXT_EMBEDDER).spec.space == space:
                return name
        found = self._stock.text_tower(space)
        if found not in self.registry.available()[ModelType.TEXT_EMBEDDER]:
            self.registry.register(ModelType.TEXT_EMBEDDER, found, partial(self._stock.text, found))
        return found

    @staticmethod
    async def _stop(serving: Sequence[_Serving]) -> None:
        for one in serving:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in serving), return_exceptions=True)


@asynccontextmanager
async def open_engine(config: EngineConfig, *, registry: Registry | None = None, backend: Backend | None = None) -> AsyncIterator[Engine]:
    """Open the engine with the models of config.operations loaded and proved; everything ends with the block.

    registry may hold models of the caller's own: its defaults are kept. backend replaces the configured one (tests).
    Raises ConfigError in one line: a missing model, random weights that were not allowed, a backend that is not there.
    """
    if config.decode not in ("scaled", "exact", "gpu"):
        raise ConfigError(f"KIZU_DECODE is {config.decode!r}; it may be scaled, exact or gpu")
    if backend is None and config.backend in KINDS:
        require_provider(config.backend, KINDS[config.backend])  # before anything is said of models: those would not help
    stock = stock_of(config)
    registry = Registry() if registry is None else registry
    register_models(registry, stock, min_score=config.min_score, longest=config.max_image_size)
    wanted = plan(config.operations).operations
    defaults = [registry.default(TYPES[operation]) for operation in wanted if operation not in _OPTIONAL]
    stock.require([name for name in defaults if name in stock.names()])
    jpeg = await asyncio.to_thread(open_gpu_jpeg) if config.decode == "gpu" else imaging.turbo_jpeg
    lanes = Lanes(config.lanes or available_cores())
    try:
        engine = Engine(config, registry=registry, backend=backend or _backend(config, lanes), stock=stock, lanes=lanes, jpeg=jpeg)
    except ConfigError:
        await lanes.close()
        raise
    try:
        await _load_all(engine, wanted)
        yield engine
    finally:
        await engine.close()


async def _load_all(engine: Engine, operations: Sequence[Operation]) -> None:
    """All at once, each in its own thread: the sessions of CLIP and YOLOv8m open in the time of the slower one.

    A model that cannot be had fails an optional operation only, unless nothing else was asked for.
    """
    results = await asyncio.gather(*(engine.load(TYPES[operation]) for operation in operations), return_exceptions=True)
    failed = {operation: result for operation, result in zip(operations, results, strict=True) if isinstance(result, BaseException)}
    for operation, error in failed.items():
        if not isinstance(error, ConfigError) or operation not in _OPTIONAL or len(failed) == len(operations):
            raise error
        engine.unavailable[operation] = str(error)


def _specs(model: Any) -> tuple[ModelSpec, ...]:
    """The graphs of a model; none for None."""
    if model is None:
        return ()
    return tuple(part.spec for part in model.parts) if isinstance(model, Chain) else (model.spec,)


def stock_of(config: EngineConfig) -> Stock:
    """Where the specs of a configuration's models come from."""
    if config.backend == "fake":
        return FakeModels(config.chosen)
    repository = ModelRepository(config.model_repository, graphs=config.backend != "triton")  # a worker may stand beside the server
    return ExportedModels(repository, config.chosen, allow_random=config.allow_random)


def _backend(config: EngineConfig, lanes: Lanes) -> Backend:
    if config.backend == "fake":
        return fake.FakeBackend(lanes=lanes.count)
    repository, limits = ModelRepository(config.model_repository), config.limits
    if config.backend in KINDS:
        return OnnxBackend(repository, kind=config.backend, lanes=lanes.count, executor=lanes.executor, limits=limits)
    if config.backend == "openvino":
        return OpenvinoBackend(repository, lanes=lanes.count, executor=lanes.executor, cache=limits.cache and limits.cache / "openvino")
    if config.backend == "triton":
        return TritonBackend(addresses(config.triton_urls), sharing=config.triton_shm, wait_s=config.backend_wait_s)
    raise ConfigError(f"there is no backend {config.backend}; there are {', '.join(KINDS)}, openvino, triton, fake: set KIZU_BACKEND=cpu")


def _report_death(model: str, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("a batcher died of a bug and is replaced", model=model, error=repr(error), exc_info=error)


def registry_of(config: EngineConfig) -> Registry:
    """The models that a configuration means, none of them loaded."""
    registry = Registry()
    register_models(registry, stock_of(config), min_score=config.min_score)
    return registry
