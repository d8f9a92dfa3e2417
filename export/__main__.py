"""Fill model_repository/ once: download or find weights, export, verify against the original library, install.

Run it in the export environment (`make export` does): .venv-export/bin/python -m export
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from export import run, sources, weights
from export.download import Downloader
from export.wanted import Wanted
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings, load_settings

BINDING = ("non-commercial", "AGPL")  # how licences begin that bind whoever uses a model
FP16, TENSORRT = "fp16", "tensorrt"
EXAMPLES = """examples:
  python -m export                               the models that CLIP_MODEL, CLIP_PRETRAINED, YOLO_SIZE and FACE_MODEL_NAME name, official weights
  python -m export --weights ~/weights           from a folder: yolov8m.pt, open_clip/ViT-B-32_openai.pt (.safetensors, .bin), insightface/models/buffalo_l/*.onnx
  python -m export --weights random              untrained, to try the pipeline: `random` is in the names, results mean nothing
  python -m export --models yolov8n,yolov8x      some YOLOv8 sizes
  python -m export --models ViT-L-14/openai      both towers of another open_clip model
  python -m export --models Mine/v1 --weights DIR   a CLIP of your own: DIR/open_clip/Mine.json (open_clip's configuration) and Mine_v1.safetensors
  python -m export --models describe             the captioner that DESCRIBE_MODEL and DESCRIBE_DETAIL name; a folder's is describe/florence-community--Florence-2-base/
  python -m export --precision fp16              half-precision variants as well, in folders of their own (yolov8m-fp16)
  python -m export --target tensorrt --precision fp16    and TensorRT plans of them for the GPU of this machine

Nothing is done for a model when weights, code and packages are those it was exported with. A failed check against the
original library installs nothing. Exit codes: 0 all models are there, 1 one is missing (a line says why and what to do), 2 usage.
How well the exports agree with the originals on your own pictures: python -m export.fidelity --help
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of `python -m export`."""
    options = _parser().parse_args(arguments)
    try:
        _refuse(options)
        settings = load_settings()
        source = _source(options.weights)
        models = _models(options.models, settings, random=source == weights.RANDOM)
        job = run.Job(options.repository or settings.model_repository, settings.model_cache_dir, source, Downloader(), _say)
        outcome = run.export(models, job)
        if options.precision == FP16:
            outcome = importlib.import_module("export.variants").halve(outcome, job)
        if options.target == TENSORRT:
            outcome = importlib.import_module("export.plans").build_all(outcome, job)
    except ConfigError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; what was installed before is still there")
        return 130
    _report(outcome, as_json=options.json)
    return 1 if outcome.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        metavar="A,B",
        help=f"which: {', '.join(sources.FAMILIES)}, yolov8n, MODEL/TAG of open_clip or a folder's name; default: those of the settings",
    )
    parser.add_argument("--target", choices=("onnx", TENSORRT, "openvino"), default="onnx", help="tensorrt: plans for this machine's GPU, for Triton")
    parser.add_argument(
        "--precision",
        choices=("fp32", FP16, "int8"),
        default="fp32",
        help="fp16: variants beside the fp32 models, taken by --backend cuda and tensorrt",
    )
    parser.add_argument("--weights", metavar="DIR|official|random", help="default: trained weights that are installed already, else official")
    parser.add_argument("--repository", type=Path, metavar="DIR", help="default: KIZU_MODEL_REPOSITORY, else ./model_repository")
    parser.add_argument("--json", action="store_true", help='print {"models": [manifest, ...], "failed": [{"name", "reason"}, ...]}')
    return parser


def _refuse(options: argparse.Namespace) -> None:
    """What makes no sense here, before anything is exported. Raises ConfigError."""
    if options.target == "openvino":
        raise ConfigError("--target openvino is not needed: --backend openvino reads the ONNX files and keeps what it compiles under KIZU_DATA_DIR")
    if options.precision == "int8":
        raise ConfigError("--precision int8 is not offered: it was never measured on trained weights; fp16 is")
    if options.target == TENSORRT:
        importlib.import_module("export.plans").require_machine()


def _source(word: str | None) -> str | Path | None:
    return word if word in (None, weights.OFFICIAL, weights.RANDOM) else Path(word).expanduser().resolve()


def _models(words: str | None, settings: Settings, *, random: bool) -> list[Wanted]:
    if words is not None:
        return sources.chosen([word.strip() for word in words.split(",") if word.strip()], settings, random=random)
    for word, family in sources.FAMILIES.items():
        if random and family.asked(settings) and not family.HAS_RANDOM:
            _say(f"{word}: left out, there are no random weights of this family")
    return sources.standard(settings, random=random)


def _report(outcome: run.Outcome, *, as_json: bool) -> None:
    reasons: dict[str, list[str]] = {}
    for name, reason in outcome.failures.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():  # towers that share weights fail for one reason: one line
        _say(reason if reason.startswith(names[0]) else f"{', '.join(names)}: {reason}")
    untrained = [name for name, manifest in outcome.manifests.items() if manifest["source"] == weights.RANDOM]
    if untrained:
        _say(f"{', '.join(untrained)}: weights are random, results mean nothing; for real ones run: python -m export --weights official (or DIR)")
    licences: dict[str, list[str]] = {}
    for name, manifest in outcome.manifests.items():
        if str(manifest["licence"]).startswith(BINDING):
            licences.setdefault(manifest["licence"], []).append(name)
    for licence, names in licences.items():
        _say(f"{', '.join(names)}: licence {licence}")
    if as_json:
        failed = [{"name": name, "reason": reason} for name, reason in outcome.failures.items()]
        sys.stdout.write(json.dumps({"models": list(outcome.manifests.values()), "failed": failed}) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(f"export: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
