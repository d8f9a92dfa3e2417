"""Reading text with either family: accuracy and cost, from which the default is chosen.

    python -m benchmarks ocr --images DIR [--photos DIR] [--json FILE]

DIR holds truth.json: {"ocr": [{"file", "lang", "text": [lines]}]}; --photos is a folder of any pictures, most of them without text. A family whose
models are not in the repository is left out, with the command that brings them. CPU seconds are those of this process: decoding, both sides of the
graphs and the graphs, one thread an inference. Bytes are those of the tensors that go into the graphs and come out of them.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from export.character_errors import distance, folded, rate
from kizu_fast.backends import Backend, Running, fake
from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.domain import Operation
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.settings import load_settings
from kizu_fast.specs import ModelSpec, Tensors
from kizu_fast.worker.config import engine_config

FAMILIES = ("ppocr", "easyocr")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_PHOTOS = 40  # spread over the folder
PAGE_CHARACTERS = 150  # a picture with as many is counted as a page

Figures = Mapping[str, Mapping[str, Any]]


class Weighed:
    """A backend that counts the bytes of its tensors."""

    def __init__(self, inner: Backend) -> None:
        self._inner, self.profile, self.sent, self.answered = inner, inner.profile, 0, 0

    async def load(self, spec: ModelSpec) -> None:
        """As the inner one."""
        await self._inner.load(spec)

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        """As the inner one, counted."""
        outputs = await self._inner.infer(spec, inputs)
        self.sent += sum(value.nbytes for value in inputs.values())
        self.answered += sum(value.nbytes for value in outputs.values())
        return outputs

    async def unload(self, spec: ModelSpec) -> None:
        """As the inner one."""
        await self._inner.unload(spec)

    async def close(self) -> None:
        """As the inner one."""
        await self._inner.close()

    def describe(self, spec: ModelSpec) -> Running:
        """As the inner one."""
        return self._inner.describe(spec)


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture, read."""

    path: Path
    language: str  # "" for a photo without truth
    characters: int
    errors: int
    cpu_s: float
    sent: int  # bytes
    answered: int


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when at least one family was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ocr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--photos", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    try:
        found = asyncio.run(measure(engine_config(load_settings(), (Operation.OCR,)), options.images, _photos(options.photos)))
    except (ConfigError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"ocr: {error}\n")
        return 1
    if options.json:
        document = {"machine": machine.facts(), "commit": machine.commit(), "families": found}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(table(found)) + "\n")
    return 0 if any("missing" not in figures for figures in found.values()) else 1


def _photos(folder: Path | None) -> list[Path]:
    """MAX_PHOTOS of a folder, evenly spread."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder else []
    return found[:: max(1, len(found) // MAX_PHOTOS)][:MAX_PHOTOS]


async def measure(config: EngineConfig, images: Path, photos: Sequence[Path]) -> Figures:
    """Both families over all pictures, one picture at a time. Raises OSError, ValueError or KeyError for a truth.json that cannot be used."""
    entries = json.loads((images / "truth.json").read_text(encoding="utf-8"))["ocr"]
    truth = [(images / entry["file"], str(entry["lang"]), folded(entry["text"])) for entry in entries]
    found: dict[str, Mapping[str, Any]] = {}
    for family in FAMILIES:
        chosen = replace(config, chosen=replace(config.chosen, ocr_model=family), lanes=1)
        try:
            found[family] = await _family(chosen, [*truth, *((path, "", "") for path in photos)])
        except ConfigError as error:
            found[family] = {"missing": str(error)}
    return found


async def _family(config: EngineConfig, pictures: Sequence[tuple[Path, str, str]]) -> dict[str, Any]:
    inner: Backend = fake.FakeBackend(lanes=1) if config.backend == "fake" else OnnxBackend(ModelRepository(config.model_repository), lanes=1)
    backend = Weighed(inner)
    async with open_engine(config, backend=backend) as engine:
        seen = [one for path, language, text in pictures if (one := await _look(engine, backend, path, language, text)) is not None]
    return summary(seen)


async def _look(engine: Engine, backend: Weighed, path: Path, language: str, wanted: str) -> Seen | None:
    """None for a picture that cannot be decoded."""
    data = await asyncio.to_thread(path.read_bytes)
    started, sent, answered = time.process_time(), backend.sent, backend.answered
    try:
        photo, _ = await engine.decode(data, (Operation.OCR,))
    except PermanentError:
        return None
    texts = (await engine.analyse(photo, (Operation.OCR,))).texts
    cpu_s = time.process_time() - started
    got = folded([line.text for line in texts.lines]) if texts else ""
    errors = distance(wanted, got) if language else 0
    return Seen(path, language, len(wanted), errors, cpu_s, backend.sent - sent, backend.answered - answered)


def summary(seen: Sequence[Seen]) -> dict[str, Any]:
    """Error rates by language; mean CPU seconds and bytes of pictures with text, of pages and of photos."""
    languages: defaultdict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        if one.language:
            languages[one.language].append(one)
    with_text = [one for one in seen if one.language]
    kinds = {
        "picture with text": with_text,
        "page": [one for one in with_text if one.characters >= PAGE_CHARACTERS],
        "photo": [one for one in seen if not one.language],
    }
    return {
        "error_rate": {language: _rate(group) for language, group in [*sorted(languages.items()), ("all", with_text)]},
        "cpu_s": {kind: sum(one.cpu_s for one in group) / len(group) for kind, group in kinds.items() if group},
        "bytes": {kind: sum(one.sent + one.answered for one in group) / len(group) for kind, group in kinds.items() if group},
        "bytes over sent": sum(one.sent + one.answered for one in seen) / max(sum(one.sent for one in seen), 1),
        "pictures": {kind: len(group) for kind, group in kinds.items()},
    }


def _rate(group: Sequence[Seen]) -> float:
    return rate(sum(one.errors for one in group), sum(one.characters for one in group))


def table(found: Figures) -> Iterator[str]:
    """Families beside each other; what is missing below."""
    there = {family: figures for family, figures in found.items() if "missing" not in figures}
    yield f"{'':<34}" + "".join(f"{family:>12}" for family in there)
    for title, key, form in (("error rate", "error_rate", "12.4f"), ("cpu s per", "cpu_s", "12.3f"), ("bytes per", "bytes", "12.0f")):
        for row in next(iter(there.values()), {}).get(key, {}):
            yield f"{title} {row:<{33 - len(title)}}" + "".join(f"{figures[key].get(row, float('nan')):{form}}" for figures in there.values())
    yield f"{'bytes of tensors over bytes sent':<34}" + "".join(f"{figures['bytes over sent']:12.3f}" for figures in there.values())
    for family, figures in found.items():
        if "missing" in figures:
            yield f"{family} is left out: {figures['missing']}"
