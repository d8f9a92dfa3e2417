"""Options of onnxruntime's execution providers, as far as they depend on the model or the machine. Pure: nothing here needs a GPU or a Mac.

Names of options: onnxruntime's pages on its CUDA, TensorRT and CoreML execution providers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kizu_fast.specs import ModelSpec

CPU, CUDA, TENSORRT, COREML = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider", "CoreMLExecutionProvider"

Providers = list[tuple[str, dict[str, str]]]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a machine grants a backend. cache: folder for compiled engines, None: compile at every start. gpu_memory_bytes: cap of CUDA's arena."""

    cache: Path | None = None
    gpu_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The shapes that one TensorRT profile serves, batch axis first: smallest, the one that is made fastest, largest. By input name."""

    smallest: Mapping[str, Shape]
    best: Mapping[str, Shape]
    largest: Mapping[str, Shape]


def profiles(spec: ModelSpec) -> list[ShapeProfile]:
    """One profile per bucket, batches from 1 to the largest, made fastest for the largest: a busy GPU sees full batches.

    A profile that spans all buckets would be planned for shapes that never come.
    """
    shaped = [spec.at(bucket) for bucket in spec.buckets] or [spec]
    return [
        ShapeProfile(*({tensor.name: (batch, *tensor.shape) for tensor in one.inputs} for batch in (1, one.max_batch, one.max_batch)))
        for one in shaped
    ]


def written(shapes: Iterable[Mapping[str, Shape]]) -> str:
    """Shapes as onnxruntime's TensorRT provider reads them: pixels:1x640x640x3,pixels:1x480x640x3 are two profiles of one input."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for one in shapes for name, shape in one.items())


def options(providers: Sequence[tuple[str, Mapping[str, str]]], spec: ModelSpec, limits: Limits, *, precision: str) -> Providers:
    """A kind's providers with what this model and machine add. precision: of the graph's file, fp32 or fp16."""
    extra = {CUDA: _cuda(limits), TENSORRT: _tensorrt(spec, limits, precision), COREML: _coreml(limits)}
    return [(name, {**fixed, **extra.get(name, {})}) for name, fixed in providers]


def _cuda(limits: Limits) -> dict[str, str]:
    return {} if limits.gpu_memory_bytes is None else {"gpu_mem_limit": str(limits.gpu_memory_bytes)}


def _tensorrt(spec: ModelSpec, limits: Limits, precision: str) -> dict[str, str]:
    chosen = profiles(spec)
    found = {
        # the graph's own types decide: this only lets TensorRT 10 take fp16 tensors at all
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
        "trt_profile_min_shapes": written(one.smallest for one in chosen),
        "trt_profile_opt_shapes": written(one.best for one in chosen),
        "trt_profile_max_shapes": written(one.largest for one in chosen),
    }
    if limits.gpu_memory_bytes is not None:
        found["trt_max_workspace_size"] = str(limits.gpu_memory_bytes // 2)
    if limits.cache is not None:
        # by model and precision: engines of one folder are told apart by the graph's inner names alone
        folder = str(limits.cache / "tensorrt" / f"{spec.name}-{precision}")
        found |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
        found |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(limits.cache / "tensorrt")}
    return found


def _coreml(limits: Limits) -> dict[str, str]:
    return {} if limits.cache is None else {"ModelCacheDirectory": str(limits.cache / "coreml")}


def cache_folders(providers: Providers) -> list[Path]:
    """The folders that must exist before a session opens: no provider makes all of its own."""
    keys = ("trt_engine_cache_path", "trt_timing_cache_path", "ModelCacheDirectory")
    return [Path(settings[key]) for _, settings in providers for key in keys if key in settings]


def left_on_cpu(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Kinds of nodes that ran on the CPU and how many, out of the events that onnxruntime's profiler wrote for one inference.

    A subgraph that a provider compiled counts as one node of that provider.
    """
    found: dict[str, int] = {}
    for event in events:
        details = event.get("args") or {}
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time") and details.get("provider") == CPU:
            kind = str(details.get("op_name", "?"))
            found[kind] = found.get(kind, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
