"""The model repository on disk: one folder per model, written by `python -m export`, read by every backend."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kizu_fast import specs
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family, ModelSpec, half_name, is_half

MANIFEST = "manifest.json"
MODEL = "1/model.onnx"
TOKENIZER = "tokenizer.json"
CHARACTERS = "characters.txt"  # a recogniser's classes in order, one a line


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the export wrote down about one model."""

    spec: ModelSpec
    source: str  # official | folder | random
    original: str  # e.g. ViT-B-32/openai
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

    def half(self, name: str) -> Path | None:
        """The graph of a model's fp16 variant, None when it was not exported. It answers as the model does, within the export's gates."""
        return self.root / half_name(name) / MODEL if self.has(half_name(name)) else None

    def tokenizer(self, name: str) -> Path:
        """The tokenizer's file of a text tower, there or not: who loads it says so."""
        return self.root / name / TOKENIZER

    def characters(self, name: str) -> tuple[str, ...]:
        """What a recogniser's classes stand for, in order. Raises ConfigError when the file is missing or is no text."""
        path = self.root / name / CHARACTERS
        try:
            return tuple(path.read_bytes().decode("utf-8").split("\n"))  # splitlines() would part at characters that are meant
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}; run: {export_command(name)}") from error

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
        """Raises ConfigError when the model is missing or its manifest is not whole."""
        return self.manifest(name).spec

    def find_space(self, space: str, family: Family) -> str | None:
        """The model of that family that writes into space, or None. A broken manifest of another model is passed over."""
        for name in self.names():
            if is_half(name):
                continue
            try:
                spec = self.spec(name)
            except ConfigError:
                continue
            if spec.family is family and spec.space == space:
                return name
        return None


def export_command(name: str) -> str:
    """What a user types to get the model."""
    return f"python -m export --models {name}"


def _parse(written: object, path: Path, name: str) -> Manifest:
    if not isinstance(written, dict):
        raise ConfigError(f"{path} holds no object; run: {export_command(name)}")
    for key in ("source", "original"):
        if not isinstance(written.get(key), str):
            raise ConfigError(f"{path} does not state {key!r}; run: {export_command(name)}")
    if not isinstance(written.get("spec"), dict):
        raise ConfigError(f"{path} does not state 'spec': another version wrote it; run: {export_command(name)}")
    try:
        spec = ModelSpec.from_record(written["spec"])
    except ValueError as error:
        raise ConfigError(f"{path}: spec: {error}; run: {export_command(name)}") from error
    if spec.name != name:
        raise ConfigError(f"{path} is of the model {spec.name!r}; run: {export_command(name)}")
    known = {key: written[key] for key in ("weights_sha256", "licence", "parity") if written.get(key) is not None}
    return Manifest(spec=spec, source=written["source"], original=written["original"], **known)
