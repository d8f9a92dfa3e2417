"""fp16 variants of installed models: what is current stays, what is not is built beside it, compared with fp32, and put in its place."""

import hashlib
import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from export import configs, install
from export import manifest as manifests
from export.digests import digest
from export.quiet import quiet
from export.run import Job, Outcome
from kizu_fast.errors import ConfigError
from kizu_fast.specs import HALF, Family, ModelSpec, half_name

# Families that have a variant: vectors, objects and faces. Half precision was not measured on what reads text or writes captions.
OFFERED = frozenset({Family.CLIP_IMAGE, Family.CLIP_TEXT, Family.YOLO, Family.FACE_DETECTOR, Family.FACE_EMBEDDER})
_SHAPING = ("half.py", "variants.py", "graph.py", "parity.py", "configs.py")


def halve(exported: Outcome, job: Job) -> Outcome:
    """The variants of every exported model that has one; its manifests and failures join the others."""
    outcome = Outcome(dict(exported.manifests), dict(exported.failures))
    with install.alone(job.repository):
        for name, manifest in exported.manifests.items():
            spec = ModelSpec.from_record(manifest["spec"])
            if spec.family not in OFFERED:
                job.say(f"{name}: left in fp32, models of the family {spec.family} have no fp16 variant")
                continue
            try:
                outcome.manifests[half_name(name)] = _current(spec, manifest, job) or _build(spec, manifest, job)
            except ConfigError as error:
                outcome.failures[half_name(name)] = str(error)
            except OSError as error:
                outcome.failures[half_name(name)] = f"{error.filename or job.repository}: {error.strerror or error}"
    return outcome


def inputs_hash(full: Mapping[str, Any]) -> str:
    """Equal for equal work: same fp32 graph, same code, same packages."""
    code = [digest(Path(__file__).parent / name) for name in _SHAPING]
    return hashlib.sha256(json.dumps([full["onnx_sha256"], full["spec"], manifests.versions(), code]).encode()).hexdigest()


def _current(spec: ModelSpec, full: Mapping[str, Any], job: Job) -> Mapping[str, Any] | None:
    folder = job.repository / half_name(spec.name)
    manifest = manifests.read(folder)
    if manifest is None or not manifests.intact(folder, manifest) or manifest["inputs_hash"] != inputs_hash(full):
        return None
    job.say(f"{manifest['name']}: up to date")
    return manifest


def _build(spec: ModelSpec, full: Mapping[str, Any], job: Job) -> Mapping[str, Any]:
    with quiet():
        half = importlib.import_module("export.half")  # brings onnx: not for a call that finds everything done
    began, source = time.monotonic(), job.repository / spec.name
    variant = replace(spec, name=half_name(spec.name))
    with install.staging(job.repository, variant.name) as folder:
        with quiet():
            facts = half.write(source, variant, folder)
            figures = half.agreement(variant, source / manifests.GRAPH, folder / manifests.GRAPH, source / "tokenizer.json")
        half.demand(variant.name, spec.family, figures)
        (folder / "config.pbtxt").write_text(configs.render(variant), encoding="utf-8")
        kept = {key: full[key] for key in ("source", "original", "weights_sha256", "licence")}
        manifest = {
            **kept,
            **facts,
            "name": variant.name,
            "spec": variant.as_record(),
            "precision": HALF,
            "half_of": spec.name,
            "onnx_sha256": digest(folder / manifests.GRAPH),
            "created_with": manifests.versions(),
            "inputs_hash": inputs_hash(full),
            "files": {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()},
            "parity": figures,
        }
        install.install(folder, manifest, job.repository)
    told = ", ".join(f"{key} {value:.7g}" for key, value in figures.items() if isinstance(value, float))
    job.say(f"{variant.name}: installed after {time.monotonic() - began:.0f} s; against fp32: {told}")
    return manifest
