"""The model repository on disk: one folder per model, written by `python -m export`, read by every backend."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kizu_fast import specs
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family, ModelSpec

MANIFEST = "manifest.json"
MODEL = "1/model.onnx"
TOKENIZER = "tokenizer.json"

_DEFAULT_STEPS = "p1"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the export wrote down about one model. Fields that its family does not need are None."""

    name: str
    family: Family
    source: str  # official | folder | random
    original: str  # e.g. ViT-B-32/openai
    space: str | None = None
    dim: int | None = None
    side: int | None = None
    context: int | None = None
    preprocessing: str = _DEFAULT_STEPS
    labels_file: str = "labels.txt"
    weights_sha256: str | None = None
    licence: str | None = None
    parity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_random(self) -> bool:
        """Whether the weights are untrained: results mean nothing."""
        return self.source == specs.RANDOM


class ModelRepository:
    """Reads manifests; decides nothing. Every method reads the disk: an export may add models while we run.

    graphs=False: the graphs are elsewhere, on a Triton server; manifests, labels and tokenizers are enough here.
    """

    def __init__(self, root: Path, *, graphs: bool = True) -> None:
        self.root, self._graphs = root, graphs

    def names(self) -> tuple[str, ...]:
        """Models whose files are all there, sorted."""
        if not self.root.is_dir():
            return ()
        return tuple(sorted(folder.name for folder in self.root.iterdir() if self.has(folder.name)))

    def has(self, name: str) -> bool:
        """Whether the manifest, and the graph if it is wanted here, are there. Says nothing about what is in them."""
        return (self.root / name / MANIFEST).is_file() and (not self._graphs or (self.root / name / MODEL).is_file())

    def path(self, name: str) -> Path:
        """The graph's file. Raises ConfigError naming the export command when it is missing."""
        path = self.root / name / MODEL
        if not path.is_file():
            raise ConfigError(f"model {name} is not in {self.root}; run: {export_command(name)}")
        return path

    def tokenizer(self, name: str) -> Path:
        """The tokenizer's file of a text tower, there or not: who loads it says so."""
        return self.root / name / TOKENIZER

    def manifest(self, name: str) -> Manifest:
        """Raises ConfigError when the model is missing or its manifest is not whole."""
        if self._graphs:
            self.path(name)
        path = self.root / name / MANIFEST
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; run: {export_command(name)}") from error
        except ValueError as error:
            raise ConfigError(f"{path} is no JSON: {error}; run: {export_command(name)}") from error
        return _parse(written, path, name)

    def spec(self, name: str) -> ModelSpec:
        """Raises ConfigError when the model is missing, or its manifest lacks what its family needs."""
        manifest = self.manifest(name)
        return _BUILDERS[manifest.family](manifest, self.root / name)

    def find_space(self, space: str, family: Family) -> str | None:
        """The model of that family that writes into space, or None. A broken manifest of another model is passed over."""
        for name in self.names():
            try:
                manifest = self.manifest(name)
            except ConfigError:
                continue
            if manifest.family is family and manifest.space == space:
                return name
        return None


def export_command(name: str) -> str:
    """What a user types to get the model."""
    return f"python -m export --models {name}"


def _parse(written: object, path: Path, name: str) -> Manifest:
    if not isinstance(written, dict):
        raise ConfigError(f"{path} holds no object; run: {export_command(name)}")
    known = {key: written[key] for key in Manifest.__dataclass_fields__ if written.get(key) is not None}
    for key in ("name", "family", "source", "original"):
        if not isinstance(known.get(key), str):
            raise ConfigError(f"{path} does not state {key!r}; run: {export_command(name)}")
    if known["family"] not in set(Family):
        raise ConfigError(f"{path}: unknown family {known['family']!r}; this version knows {', '.join(Family)}")
    if known["name"] != name:
        raise ConfigError(f"{path} is of the model {known['name']!r}; run: {export_command(name)}")
    return Manifest(**{**known, "family": Family(known["family"])})


def _number(manifest: Manifest, key: str, folder: Path) -> int:
    value = getattr(manifest, key)
    if not isinstance(value, int) or value <= 0:
        raise ConfigError(f"{folder / MANIFEST}: {key!r} must be a positive number, it is {value!r}; run: {export_command(manifest.name)}")
    return value


def _space(manifest: Manifest, folder: Path) -> str:
    if not isinstance(manifest.space, str) or not manifest.space:
        raise ConfigError(f"{folder / MANIFEST} does not name its vector 'space'; run: {export_command(manifest.name)}")
    return manifest.space


def _clip_image(manifest: Manifest, folder: Path) -> ModelSpec:
    side, dim = _number(manifest, "side", folder), _number(manifest, "dim", folder)
    return specs.clip_image(manifest.name, side=side, dim=dim, space=_space(manifest, folder), preprocessing=manifest.preprocessing)


def _clip_text(manifest: Manifest, folder: Path) -> ModelSpec:
    context, dim = _number(manifest, "context", folder), _number(manifest, "dim", folder)
    return specs.clip_text(manifest.name, context=context, dim=dim, space=_space(manifest, folder), preprocessing=manifest.preprocessing)


def _yolo(manifest: Manifest, folder: Path) -> ModelSpec:
    path = folder / manifest.labels_file
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; run: {export_command(manifest.name)}") from error
    if not labels:
        raise ConfigError(f"{path} is empty; run: {export_command(manifest.name)}")
    return specs.yolo(manifest.name, labels=labels)


def _face_detector(manifest: Manifest, _folder: Path) -> ModelSpec:
    return specs.scrfd(manifest.name)


def _face_embedder(manifest: Manifest, folder: Path) -> ModelSpec:
    return specs.arcface(manifest.name, dim=_number(manifest, "dim", folder), space=_space(manifest, folder))


_BUILDERS: Mapping[Family, Callable[[Manifest, Path], ModelSpec]] = {
    Family.CLIP_IMAGE: _clip_image,
    Family.CLIP_TEXT: _clip_text,
    Family.YOLO: _yolo,
    Family.FACE_DETECTOR: _face_detector,
    Family.FACE_EMBEDDER: _face_embedder,
}
