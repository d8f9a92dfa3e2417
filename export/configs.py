"""config.pbtxt of every model, rendered from its ModelSpec by the protobuf that Triton itself parses.

    python -m export.configs           write model_repository/NAME/config.pbtxt (and labels.txt) of the default models
    python -m export.configs --check   compare them with what is committed; exit 1 when one differs

Needs tritonclient and numpy only: it is part of `make check`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from kizu_fast import specs
from kizu_fast.models.labels import COCO
from kizu_fast.specs import Family, ModelSpec, TensorSpec

ROOT = Path(__file__).resolve().parents[1]
QUEUE_TIMEOUT_US = {Family.CLIP_TEXT: 1_000_000, Family.CAPTION: 60_000_000}
DEFAULT_QUEUE_TIMEOUT_US = 5_000_000
QUEUED_BATCHES = 4
PRIORITIES = {Family.CLIP_IMAGE: 2, Family.CLIP_TEXT: 1}  # the default level of a request: 1 is a person who waits, 2 the worker
PRIORITY_LEVELS = 2
DTYPES = {"uint8": triton.TYPE_UINT8, "int32": triton.TYPE_INT32, "float32": triton.TYPE_FP32}


def default_specs() -> list[ModelSpec]:
    """The models whose configuration is committed: the settings' defaults, and every size of YOLOv8."""
    image, text = (specs.clip_name("ViT-B-32", "openai", tower) for tower in ("image", "text"))
    return [
        specs.clip_image(image, side=224, dim=512, space=""),
        specs.clip_text(text, context=77, dim=512, space=""),
        *(specs.yolo(specs.yolo_name(size), labels=COCO) for size in "nsmlx"),
    ]


def render(spec: ModelSpec) -> str:
    """The text of config.pbtxt."""
    config = triton.ModelConfig(name=spec.name, backend="onnxruntime", max_batch_size=spec.max_batch)
    for tensor in spec.inputs:
        config.input.append(triton.ModelInput(name=tensor.name, data_type=DTYPES[tensor.dtype], dims=tensor.shape))
    for tensor in spec.outputs:
        config.output.append(_output(tensor))
    config.instance_group.append(triton.ModelInstanceGroup(count=1))  # without a count Triton starts two on a CPU, with a kind it refuses machines
    config.version_policy.latest.num_versions = 1
    _batching(config.dynamic_batching, spec)
    if spec.family is Family.CLIP_TEXT:
        config.response_cache.enable = True  # searches repeat, photos do not
    return f"# Rendered from ModelSpec by: python -m export.configs\n{text_format.MessageToString(config)}"


def _output(tensor: TensorSpec) -> triton.ModelOutput:
    return triton.ModelOutput(name=tensor.name, data_type=DTYPES[tensor.dtype], dims=tensor.shape)


def _batching(batching: triton.ModelDynamicBatching, spec: ModelSpec) -> None:
    batching.max_queue_delay_microseconds = spec.max_delay_us
    if spec.family in PRIORITIES:
        batching.priority_levels = PRIORITY_LEVELS
        batching.default_priority_level = PRIORITIES[spec.family]
    policy = batching.default_queue_policy
    policy.timeout_action = triton.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = QUEUE_TIMEOUT_US.get(spec.family, DEFAULT_QUEUE_TIMEOUT_US)
    policy.allow_timeout_override = True
    policy.max_queue_size = QUEUED_BATCHES * spec.max_batch


def files(spec: ModelSpec) -> dict[str, str]:
    """What is committed of a model: file name to text."""
    written = {"config.pbtxt": render(spec)}
    if spec.labels:
        written["labels.txt"] = "\n".join(spec.labels) + "\n"
    return written


def differences(repository: Path) -> list[str]:
    """One line per committed file that is missing, cannot be parsed or says something else than its spec."""
    found = []
    for spec in default_specs():
        for name, want in files(spec).items():
            path = repository / spec.name / name
            if not path.exists():
                found.append(f"{path} is missing")
            elif path.read_text(encoding="utf-8") != want:
                found.append(f"{path} differs from its ModelSpec{_parse_problem(path) if name.endswith('.pbtxt') else ''}")
    return found


def _parse_problem(path: Path) -> str:
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), triton.ModelConfig())
    except text_format.ParseError as error:
        return f" and cannot be parsed: {error}"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when all is written or equal, 1 when --check found a difference."""
    parser = argparse.ArgumentParser(prog="python -m export.configs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", metavar="DIR")
    options = parser.parse_args(arguments)
    if options.check:
        found = differences(options.repository)
        for line in found:
            sys.stderr.write(f"{line}; run: make configs\n")
        return 1 if found else 0
    for spec in default_specs():
        (options.repository / spec.name).mkdir(parents=True, exist_ok=True)
        for name, text in files(spec).items():
            (options.repository / spec.name / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
