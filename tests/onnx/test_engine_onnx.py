"""The engine on real sessions of tiny graphs: bytes in, results out, random twins announced, spaces kept apart."""

from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import pytest
from pictures import jpeg, scene

from kizu_fast.backends.repository import ModelRepository
from kizu_fast.builtin import Chosen
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family

BOTH = ("embedding", "objects")


@pytest.fixture
def config(tiny: ModelRepository) -> EngineConfig:
    return EngineConfig(model_repository=tiny.root, lanes=2)


async def test_a_photo_s_bytes_become_an_embedding_and_objects(config: EngineConfig) -> None:
    async with open_engine(config) as engine:
        photo, _ = await engine.decode(jpeg(scene(640, 480)))
        analysis = await engine.analyse(photo, BOTH)

    assert analysis.failures == {}
    assert analysis.embedding is not None
    assert analysis.embedding.vector.shape == (graphs.DIM,)
    assert analysis.objects is not None
    assert analysis.objects.labels == ("person",)
    assert analysis.objects.boxes_xyxy[0] == pytest.approx([10, 20, 110, 120], abs=0.01)


async def test_what_runs_is_known_by_name(config: EngineConfig) -> None:
    async with open_engine(config) as engine:
        assert {name: running.provider for name, running in engine.running().items()} == {
            "clip-vit-b-32-openai-image": "CPUExecutionProvider",
            "yolov8m": "CPUExecutionProvider",
        }
        assert engine.random_models == ()


async def test_a_text_meets_the_photos_in_one_space(config: EngineConfig) -> None:
    async with open_engine(replace(config, operations=())) as engine:
        embedding = await engine.embed_text("a dog on a beach")

        assert embedding.space == engine.space == "open_clip/ViT-B-32/openai/p1/00000000"
        assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
        assert set(engine.running()) == {"clip-vit-b-32-openai-text"}


async def test_without_the_real_models_the_random_twins_run_and_are_named(tmp_path: Path) -> None:
    graphs.install_clip(tmp_path, "random", source="random")
    graphs.install_yolo(tmp_path, "yolov8m-random", source="random")

    async with open_engine(EngineConfig(model_repository=tmp_path, allow_random=True)) as engine:
        assert engine.random_models == ("clip-vit-b-32-random-image", "yolov8m-random")
        assert engine.space is not None
        assert "random" in engine.space


async def test_random_twins_never_run_without_permission(tmp_path: Path) -> None:
    graphs.install_clip(tmp_path, "random", source="random")
    graphs.install_yolo(tmp_path, "yolov8m-random", source="random")

    with pytest.raises(ConfigError, match=r"models clip-vit-b-32-openai-image, yolov8m not found in .*; run: python -m export --models"):
        async with open_engine(EngineConfig(model_repository=tmp_path)):
            pass


async def test_a_search_in_an_older_space_finds_the_text_tower_of_that_space(tiny: ModelRepository, config: EngineConfig) -> None:
    old = graphs.install_clip(tiny.root, "random", source="random")
    graphs.install_text(tiny.root, "random", source="random")

    async with open_engine(replace(config, operations=(), allow_random=True)) as engine:
        embedding = await engine.embed_text("a dog", space=old)

        assert engine.space != old
        assert embedding.space == old
        assert engine.random_models == ("clip-vit-b-32-random-text",)


async def test_a_space_that_no_text_tower_knows_is_told_with_the_command(config: EngineConfig) -> None:
    async with open_engine(replace(config, operations=())) as engine:
        with pytest.raises(ConfigError, match=r"no text model of the vector space open_clip/other .*run: python -m export"):
            await engine.embed_text("a dog", space="open_clip/other")


async def test_the_exported_models_see_a_photo(exported: ModelRepository) -> None:
    families = {exported.spec(name).family for name in exported.names()}
    sizes = [name.removeprefix("yolov8") for name in exported.names() if name.startswith("yolov8")]
    if Family.CLIP_IMAGE not in families or not sizes:
        pytest.skip("CLIP and a YOLOv8 are not both exported yet: run `make export`")
    config = EngineConfig(model_repository=exported.root, chosen=Chosen(yolo_size=sizes[0].removesuffix("-random")), allow_random=True)

    async with open_engine(config) as engine:
        photo, _ = await engine.decode(jpeg(scene(1200, 900)))
        analysis = await engine.analyse(photo, BOTH)

    assert analysis.failures == {}
    assert analysis.embedding is not None
    assert analysis.objects is not None
