"""config.pbtxt of every model, rendered from its ModelSpec by the protobuf that Triton itself parses.

    python -m export.configs                                write deploy/triton/VARIANT/NAME/config.pbtxt of the default models
    python -m export.configs --check                        compare them, and those of the exported models, with specs and graphs; exit 1 on a difference
    python -m export.configs --variant gpu --repository DIR render those of all exported models in DIR for that kind of machine

Variants: `any` loads everywhere and is what the export writes; `cpu` shares a CPU between instances of one thread; `gpu` is onnxruntime with TensorRT's
accelerator; `tensorrt` serves plans. Needs tritonclient, NumPy and onnxruntime only: it is part of `make check`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from export import config_check
from kizu_fast import specs
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.errors import ConfigError
from kizu_fast.models.captioners import caption_name
from kizu_fast.models.easyocr_languages import ENGLISH_ALONE, RECOGNISERS
from kizu_fast.models.labels import COCO
from kizu_fast.specs import Family, ModelSpec, TensorSpec

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = ROOT / "deploy" / "triton"
VARIANTS = ("any", "cpu", "gpu", "tensorrt")
QUEUE_TIMEOUT_US = {Family.CLIP_TEXT: 1_000_000, Family.CAPTION: 60_000_000}
DEFAULT_QUEUE_TIMEOUT_US = 5_000_000
QUEUED_BATCHES = 4
PRIORITIES = {Family.CLIP_IMAGE: 2, Family.CLIP_TEXT: 1}  # the default level of a request: 1 is a person who waits, 2 the worker
PRIORITY_LEVELS = 2
DTYPES = {"uint8": triton.TYPE_UINT8, "int32": triton.TYPE_INT32, "float16": triton.TYPE_FP16, "float32": triton.TYPE_FP32}
HEAD = """# Rendered from ModelSpec by: python -m export.configs, variant {variant}
# max_queue_delay_microseconds: the worker's own patience with a batch; most batches arrive full, only leftovers of several workers are joined here.
# default_queue_policy: what waits longer is refused, so that a worker asks for less at once or asks another server.
"""
CPU_INSTANCES, CPU_THREADS = 2, 1
ENGINES = "/engines"  # a volume: engines take minutes to build and are tied to GPU and TensorRT version
WORKSPACE_BYTES = 1 << 30
SLOW_TO_WARM = frozenset({Family.CAPTION})  # a caption takes seconds on a CPU: its first user waits no longer than any other
WITHOUT_TENSORRT = frozenset({Family.CAPTION})  # its loop is one graph: left to CUDA


def default_specs() -> list[ModelSpec]:
    """The models whose configuration is committed: the settings' defaults, both readers and captioners, and every size of YOLOv8."""
    image, text = (specs.clip_name("ViT-B-32", "openai", tower) for tower in ("image", "text"))
    detector, embedder = specs.face_names("buffalo_l")
    return [
        specs.clip_image(image, side=224, dim=512, space=""),
        specs.clip_text(text, context=77, dim=512, space=""),
        *(specs.yolo(specs.yolo_name(size), labels=COCO) for size in "nsmlx"),
        specs.scrfd(detector),
        specs.arcface(embedder, dim=512, space=""),
        *_readers(),
        specs.caption(caption_name("florence2", "caption"), side=768, length=24, preprocessing="stretch1-bicubic"),
        specs.caption(caption_name("vit-gpt2", "caption"), side=224, length=24, preprocessing="stretch1-bilinear"),
    ]


def _readers() -> list[ModelSpec]:
    craft, english = specs.easyocr_names(ENGLISH_ALONE)
    detector, classifier, recogniser = specs.ppocr_names(specs.PPOCR_SETS[0])
    return [
        specs.ppocr_detector(detector),
        specs.ppocr_classifier(classifier),
        specs.ppocr_recogniser(recogniser),
        specs.easyocr_detector(craft),
        specs.easyocr_recogniser(english, languages=RECOGNISERS[ENGLISH_ALONE]),
    ]


def render(spec: ModelSpec, variant: str = "any") -> str:
    """The text of config.pbtxt."""
    config = triton.ModelConfig(name=spec.name, backend="onnxruntime", max_batch_size=spec.max_batch)
    for tensor in spec.inputs:
        config.input.append(triton.ModelInput(name=tensor.name, data_type=DTYPES[tensor.dtype], dims=tensor.shape))
    for tensor in spec.outputs:
        config.output.append(triton.ModelOutput(name=tensor.name, data_type=DTYPES[tensor.dtype], dims=tensor.shape))
    config.instance_group.append(triton.ModelInstanceGroup(count=1))  # without a count Triton starts two on a CPU, with a kind it refuses machines
    config.version_policy.latest.num_versions = 1
    _batching(config.dynamic_batching, spec)
    if spec.family is Family.CLIP_TEXT:
        config.response_cache.enable = True  # searches repeat, photos do not
    if variant == "cpu":
        config.instance_group[0].count = CPU_INSTANCES
        config.parameters["intra_op_thread_count"].string_value = str(CPU_THREADS)
    elif spec.family not in WITHOUT_TENSORRT:
        _use_tensorrt(config, spec, variant)
    if spec.family not in SLOW_TO_WARM or variant in ("gpu", "tensorrt"):
        _warm_up(config, spec, sorted({1, spec.max_batch}) if variant in ("gpu", "tensorrt") else [1])
    return f"{HEAD.format(variant=variant)}{text_format.MessageToString(config)}"


def _batching(batching: triton.ModelDynamicBatching, spec: ModelSpec) -> None:
    """Waits no longer than the worker's own batcher; refuses what it cannot answer in time, so that a worker asks for less or elsewhere."""
    batching.max_queue_delay_microseconds = spec.max_delay_us
    if spec.family in PRIORITIES:
        batching.priority_levels = PRIORITY_LEVELS
        batching.default_priority_level = PRIORITIES[spec.family]
    policy = batching.default_queue_policy
    policy.timeout_action = triton.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = QUEUE_TIMEOUT_US.get(spec.family, DEFAULT_QUEUE_TIMEOUT_US)
    policy.allow_timeout_override = True
    policy.max_queue_size = QUEUED_BATCHES * spec.max_batch


def _use_tensorrt(config: triton.ModelConfig, spec: ModelSpec, variant: str) -> None:
    """Inside onnxruntime for `gpu`, as a plan for `tensorrt`."""
    if variant == "gpu":
        _accelerate(config, spec)
    elif variant == "tensorrt":
        config.backend, config.default_model_filename = "tensorrt", "model.plan"


def _accelerate(config: triton.ModelConfig, spec: ModelSpec) -> None:
    """TensorRT inside onnxruntime: fp16, engines kept on a volume, one profile that spans all buckets."""
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    settings = {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": str(WORKSPACE_BYTES),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"{ENGINES}/{spec.name}",
        "trt_timing_cache_enable": "1",
        "trt_layer_norm_fp32_fallback": "1",
        **_profile(spec),
    }
    for key, value in settings.items():
        accelerator.parameters[key] = value


def _profile(spec: ModelSpec) -> dict[str, str]:
    """Smallest, usual and largest shape of every input; empty when a dimension is left open by the spec."""
    shapes = [_shapes(spec, tensor) for tensor in spec.inputs]
    if not all(shapes):
        return {}
    batches = {"min": 1, "opt": spec.max_batch, "max": spec.max_batch}
    found = {}
    for position, (key, batch) in enumerate(batches.items()):
        sides = [f"{tensor.name}:{'x'.join(map(str, (batch, *shape[position])))}" for tensor, shape in zip(spec.inputs, shapes, strict=True)]
        found[f"trt_profile_{key}_shapes"] = ",".join(sides)
    return found


def _shapes(spec: ModelSpec, tensor: TensorSpec) -> list[tuple[int, ...]]:
    """(smallest, usual, largest) row of an input over all buckets."""
    rows = bucket_shapes(spec, tensor)
    if not rows:
        return []
    return [tuple(map(min, zip(*rows, strict=True))), rows[0], tuple(map(max, zip(*rows, strict=True)))]


def bucket_shapes(spec: ModelSpec, tensor: TensorSpec) -> list[tuple[int, ...]]:
    """The static row shapes of an input, one per bucket; none when the buckets leave a dimension open."""
    shaped = [spec.at(bucket) for bucket in spec.buckets] or [spec]
    rows = [next(one.shape for one in each.inputs if one.name == tensor.name) for each in shaped]
    return [] if any(-1 in row for row in rows) else rows


def _warm_up(config: triton.ModelConfig, spec: ModelSpec, batches: Sequence[int]) -> None:
    """Every bucket once at the start: the first photo does not wait for kernels to be chosen, or engines to be read."""
    shapes = {tensor.name: bucket_shapes(spec, tensor) for tensor in spec.inputs}
    if not all(shapes.values()):
        return
    for number in range(max(len(spec.buckets), 1)):
        for batch in batches:
            place = "x".join(map(str, spec.buckets[number])) if spec.buckets else "fixed"
            warm = config.model_warmup.add(name=f"{place} batch {batch}", batch_size=batch)
            for tensor in spec.inputs:
                shape = shapes[tensor.name][number]
                warm.inputs[tensor.name].CopyFrom(triton.ModelWarmup.Input(data_type=DTYPES[tensor.dtype], dims=shape, zero_data=True))


def differences(committed: Path) -> list[str]:
    """One line per committed configuration that is missing, cannot be parsed or says something else than its spec."""
    found, known = [], set()
    for variant in VARIANTS:
        for spec in default_specs():
            path = committed / variant / spec.name / "config.pbtxt"
            known.add(path)
            found += config_check.against_text(path, spec.name, [render(spec, variant)])
    strays = [path for path in sorted(committed.glob("*/*/config.pbtxt")) if path not in known]
    return found + [f"{path} is of no model of export/configs.py; remove it, or add its spec" for path in strays]


def exported_differences(repository: Path) -> list[str]:
    """One line per fault of the exported models' configurations: against their specs, and tensor by tensor against their graphs."""
    found, models = [], ModelRepository(repository)
    for name in models.names():
        try:
            spec = models.spec(name)
        except ConfigError as error:
            found.append(f"model {name}: {error}")
            continue
        path = repository / name / "config.pbtxt"
        found += config_check.against_text(path, name, [render(spec, variant) for variant in VARIANTS])
        found += config_check.against_graph(path, name, models.path(name))
    return found


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when all is written or equal, 1 when --check found a difference, 2 for an option that does not go with another."""
    parser = argparse.ArgumentParser(prog="python -m export.configs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--committed", type=Path, default=COMMITTED, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", metavar="DIR", help="default: ./model_repository")
    parser.add_argument("--variant", choices=VARIANTS, help="render the configurations of the exported models in the repository")
    options = parser.parse_args(arguments)
    if options.check:
        found = [f"{line}; run: make configs" for line in differences(options.committed)]
        found += [f"{line}; run: python -m export.configs --variant any --repository {options.repository}" for line in _exported(options.repository)]
        sys.stderr.write("".join(f"{line}\n" for line in found))
        return 1 if found else 0
    if options.variant:
        return _write_exported(options.repository, options.variant)
    for variant in VARIANTS:
        for spec in default_specs():
            _write(options.committed / variant / spec.name, render(spec, variant))
    return 0


def _exported(repository: Path) -> list[str]:
    return exported_differences(repository) if repository.is_dir() else []


def _write_exported(repository: Path, variant: str) -> int:
    models = ModelRepository(repository, graphs=variant != "tensorrt")
    for name in models.names():
        try:
            _write(repository / name, render(models.spec(name), variant))
        except (ConfigError, OSError) as error:
            sys.stderr.write(f"configs: {name}: {error}\n")
            return 1
    return 0


def _write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
