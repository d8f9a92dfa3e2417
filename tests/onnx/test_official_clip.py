"""The official weights of CLIP find what photos show. Random weights cannot: this runs only where the official ones were exported."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from kizu_fast.backends.repository import ModelRepository
from kizu_fast.builtin import Chosen
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.specs import clip_name

ROOT = Path(__file__).resolve().parents[2]
BEST, ENOUGH = 5, 5


async def hits(config: EngineConfig, photos: dict[Path, set[str]]) -> dict[str, bool]:
    """Per label that at least ENOUGH photos show: whether one of them is among the best answers to its name. photos: what each one shows."""
    async with open_engine(config) as engine:
        vectors = []
        for path in photos:
            photo, _ = await engine.decode(path.read_bytes())
            analysis = await engine.analyse(photo, ["embedding"])
            assert analysis.embedding is not None
            vectors.append(analysis.embedding.vector)
        shown = list(photos.values())
        labels = sorted({label for labels in shown for label in labels if sum(label in others for others in shown) >= ENOUGH})
        found = {}
        for label in labels:
            text = await engine.embed_text(f"a photo of a {label}")
            ranked = np.argsort(-(np.stack(vectors) @ text.vector))[:BEST]
            found[label] = any(label in shown[i] for i in ranked)
        return found


def photos_with_truth(folder: Path) -> dict[Path, set[str]]:
    truth = json.loads((folder / "truth.json").read_text())
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    shown: dict[int, set[str]] = {image["id"]: set() for image in truth["images"]}
    for annotation in truth["annotations"]:
        shown[annotation["image_id"]].add(names[annotation["category_id"]])
    return {folder / image["file_name"]: shown[image["id"]] for image in truth["images"]}


@pytest.mark.real_weights
async def test_words_find_photos_of_what_they_name(shared: Path) -> None:
    repository = ModelRepository(Path(os.environ.get("KIZU_MODEL_REPOSITORY", ROOT / "model_repository")))
    name = clip_name("ViT-B-32", "openai", "image")
    if not repository.has(name):
        pytest.skip(f"{name} is not in {repository.root}: no package index carries its weights; run: python -m export --models ViT-B-32/openai")
    config = EngineConfig(model_repository=repository.root, operations=("embedding",))
    found = await hits(config, photos_with_truth(shared / "images" / "objects"))
    print(
        f"\n{sum(found.values())} of {len(found)} labels find a photo among the best {BEST}: not {[label for label, hit in found.items() if not hit]}"
    )
    assert np.mean(list(found.values())) >= 0.8


async def test_a_model_that_knows_only_shapes_would_not_pass(shared: Path, meaningful_models: Path) -> None:
    chosen = Chosen(clip_model="Tiny-Shapes", clip_pretrained="own")
    config = EngineConfig(model_repository=meaningful_models, chosen=chosen, operations=("embedding",))
    found = await hits(config, photos_with_truth(shared / "images" / "objects"))
    assert len(found) > 5
    assert np.mean(list(found.values())) < 0.8
