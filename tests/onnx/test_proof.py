"""Loading a model says what runs and what it costs; unloading gives the memory back to the system."""

from pathlib import Path

import graphs
import pytest

from kizu_fast import specs
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.engine import EngineConfig
from kizu_fast.errors import ConfigError
from kizu_fast.proof import prove

HEAVY_MB = 160


async def test_each_model_is_proved_by_itself_in_the_order_given(tiny: ModelRepository) -> None:
    names = ["yolov8m", "clip-vit-b-32-openai-image"]
    proofs = await prove(EngineConfig(model_repository=tiny.root), names)
    assert [proof.name for proof in proofs] == names
    assert {(proof.running.provider, proof.running.device) for proof in proofs} == {("CPUExecutionProvider", "cpu")}
    assert all(proof.seconds > 0 for proof in proofs)


async def test_unloading_gives_a_model_s_memory_back(tmp_path: Path) -> None:
    heavy = specs.clip_image("heavy", side=graphs.SIDE, dim=graphs.DIM, space="heavy/1")
    graphs.install(tmp_path, heavy, graphs.heavy_clip_image(HEAVY_MB))
    proof = (await prove(EngineConfig(model_repository=tmp_path), ["heavy"]))[0]
    print(f"\n{proof.before_mb:.0f} MB, loaded {proof.loaded_mb:.0f} MB, unloaded {proof.freed_mb:.0f} MB")
    assert proof.takes_mb >= HEAVY_MB
    assert proof.returns_mb >= 0.9 * proof.takes_mb


async def test_real_clip_gives_its_memory_back(exported: ModelRepository) -> None:
    name = next(name for name in exported.names() if name.startswith("clip") and name.endswith("image"))
    proof = (await prove(EngineConfig(model_repository=exported.root), [name]))[0]
    print(f"\n{name}: {proof.before_mb:.0f} MB, loaded {proof.loaded_mb:.0f} MB, unloaded {proof.freed_mb:.0f} MB")
    assert proof.takes_mb > 300
    assert proof.returns_mb >= 0.9 * proof.takes_mb


async def test_a_model_that_is_not_there_is_named_with_the_command_that_brings_it(tiny: ModelRepository) -> None:
    with pytest.raises(ConfigError, match=r"model yolov8x is not in .*; run: python -m export --models yolov8x"):
        await prove(EngineConfig(model_repository=tiny.root), ["yolov8x"])


async def test_a_broken_graph_is_refused(tiny: ModelRepository) -> None:
    tiny.path("yolov8m").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        await prove(EngineConfig(model_repository=tiny.root), ["yolov8m"])
