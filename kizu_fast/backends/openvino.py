"""OpenVINO on the CPU: the same ONNX files, in bf16 where the processor computes in it (docs/decisions/019-accelerators.md)."""

import importlib
import queue
import sys
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kizu_fast.backends import Profile, Running
from kizu_fast.backends.checks import Found, compare, one_line, prove
from kizu_fast.backends.opened import Opened, OpenModels
from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.backends.sessions import Outputs, Run
from kizu_fast.errors import ConfigError, PermanentError, TransientError
from kizu_fast.specs import Family, ModelSpec, Tensors

_DEVICE = "CPU"
_MEND = "install it with: pip install 'kizu-fast[openvino]', or run with --backend cpu"
_NO_FACE = 0.25  # a score in bf16 below which there is none: faces begin at 0.5, and bf16 moves scores by 0.03 at most
_WORTH_A_LOOK = 0.75  # share of photos with faces above which a quick look is wasted: it takes a quarter of a full one
_MEMORY = 0.95  # of that share, per photo: about the last twenty count
_DTYPES = {"u8": "uint8", "f16": "float16", "f32": "float32", "i32": "int32"}
_PRECISIONS = {"bf16": "bf16", "f16": "fp16", "f32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


class OpenvinoBackend:
    """One compiled model per spec, shared by all lanes. Shapes stay free: static ones gain nothing here and would copy the weights per bucket."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        lanes: int = 1,
        executor: Executor | None = None,
        cache: Path | None = None,
        runtime: ModuleType | None = None,
    ) -> None:
        """Raises ConfigError when openvino is not installed, or has no device for this processor.

        executor: threads that wait for inferences; without one the backend makes its own. cache: folder for compiled models, made if need be;
        one that cannot be written is done without. runtime: another build of openvino than the installed one.
        """
        self._runtime = runtime or _openvino()
        self._core = self._runtime.Core()
        if _DEVICE not in self._core.available_devices:
            raise ConfigError(f"backend openvino: this build has no device for this processor; {_MEND}")
        self.profile = Profile(lanes=lanes, in_lanes=True)
        self._repository, self._lanes = repository, lanes
        self._models = OpenModels(self._open, slots=lanes, executor=executor)
        self._precision = "bf16" if "BF16" in self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES") else "f32"
        if cache is not None and _writable(cache):
            self._core.set_property({"CACHE_DIR": str(cache)})

    async def load(self, spec: ModelSpec) -> None:
        """Compile, compare with the spec, prove by an inference. Raises ConfigError naming model and cause."""
        await self._models.load(spec)

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> Outputs:
        """Raises PermanentError for inputs that the spec refuses, TransientError for everything else."""
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
        run, precision = self._compile(spec, self._precision)
        note = None
        if spec.family is Family.FACE_DETECTOR and self._precision != "f32":
            run, note = FacesInFull(run, self._compile(spec, "f32")[0]), "pictures with faces again in fp32"
        return Opened(run, Running(provider="OpenVINO", device="cpu", precision=_PRECISIONS.get(precision, precision), threads=1, note=note))

    def _compile(self, spec: ModelSpec, precision: str) -> tuple[Run, str]:
        """What runs it, proved, and the precision that the compiled model says it has."""
        path = self._repository.path(spec.name)
        try:
            model = self._core.read_model(str(path))
            compare(spec, "input", spec.inputs, _tensors(model.inputs))
            compare(spec, "output", spec.outputs, _tensors(model.outputs))
            compiled = self._core.compile_model(model, _DEVICE, _options(self._lanes, precision))
        except RuntimeError as error:  # the only class that openvino raises
            raise ConfigError(f"{path} cannot be loaded by openvino: {one_line(error)}; run: {export_command(spec.name)}") from error
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self._lanes):
            requests.put(compiled.create_infer_request())
        run = partial(_run, requests)
        prove(spec, "openvino", run)
        return run, str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _run(requests: "queue.SimpleQueue[Any]", spec: ModelSpec, inputs: Tensors) -> Outputs:
    """Start an asynchronous request and wait for it, the interpreter free meanwhile. openvino would cast and reshape what does not fit: checked first."""
    _check(spec, inputs)
    request = requests.get()
    try:
        request.start_async(dict(inputs), share_inputs=True)
        request.wait()
        return {tensor.name: np.array(request.get_tensor(tensor.name).data) for tensor in spec.outputs}  # copies: the request serves again
    except RuntimeError as error:
        raise TransientError(f"{spec.name}: {one_line(error)}") from error
    finally:
        requests.put(request)


def _check(spec: ModelSpec, inputs: Tensors) -> None:
    """Raises PermanentError (RowMismatch among them) unless inputs are a batch of the spec's rows."""
    sizes = {len(batch) for batch in inputs.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise PermanentError(f"{spec.name}: a batch needs as many rows in every input, at least one")
    spec.check_row({name: batch[0] for name, batch in inputs.items()})


class FacesInFull:
    """A detector of faces whose rows are computed in full precision where there may be a face, and quickly where there is none.

    In bf16 points move by a pixel, crops with them, and vectors to a cosine of 0.972 (docs/decisions/019-accelerators.md). Among photos
    nearly all of which show a face the quick look is left out, as it would save less than it costs: what is found stays the same.
    """

    def __init__(self, quick: Run, full: Run) -> None:
        self._quick, self._full = quick, full
        self._share = 0.0  # of the latest rows, those that may hold a face; lanes that write it at once lose one of the values, no more

    def __call__(self, spec: ModelSpec, inputs: Tensors) -> Outputs:
        """Raises what the two raise."""
        if self._share > _WORTH_A_LOOK:
            outputs = self._full(spec, inputs)
            self._remember(_may_hold_a_face(outputs))
            return outputs
        outputs = self._quick(spec, inputs)
        seen = _may_hold_a_face(outputs)
        self._remember(seen)
        rows = np.flatnonzero(seen)
        if len(rows):
            for name, exact in self._full(spec, {name: batch[rows] for name, batch in inputs.items()}).items():
                outputs[name][rows] = exact
        return outputs

    def _remember(self, seen: NDArray[np.bool_]) -> None:
        kept = _MEMORY ** len(seen)
        self._share = kept * self._share + (1 - kept) * float(seen.mean())


def _may_hold_a_face(outputs: Outputs) -> NDArray[np.bool_]:
    return np.asarray(outputs["scores"].max(axis=1) >= _NO_FACE)


def _options(lanes: int, precision: str) -> dict[str, object]:
    """One stream of one thread per lane, tied to no core: each model has its streams, and all would be tied to the same ones."""
    return {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": lanes, "INFERENCE_NUM_THREADS": lanes, "ENABLE_CPU_PINNING": False}


def _tensors(ports: list[Any]) -> dict[str, Found]:
    return {
        port.get_any_name(): Found(
            _DTYPES.get(port.element_type.get_type_name(), port.element_type.get_type_name()),
            [dim.get_length() if dim.is_static else "?" for dim in port.partial_shape],
        )
        for port in ports
    }


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def _openvino() -> ModuleType:
    """Imported at first use: other backends do without it. Importing it would send an event to its makers if openvino-telemetry is installed."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # makes its import fail, and openvino takes its own silent stand-in
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ConfigError(f"openvino is not installed; {_MEND}") from error
