"""OpenVINO: the same graphs, what it runs them with, and what it must never do."""

import sys
import types
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest

from kizu_fast.backends import openvino
from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.openvino import OpenvinoBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import ConfigError, TransientError
from kizu_fast.specs import Family, ModelSpec

IMAGE = "clip-vit-b-32-openai-image"


def computes_in_bf16() -> bool:
    """What Linux says of the processor."""
    facts = Path("/proc/cpuinfo")
    return facts.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(facts.read_text().split())


def pictures(spec: ModelSpec, rows: int) -> dict[str, Any]:
    return {"pixels": np.random.default_rng(rows).integers(1, 256, (rows, *spec.inputs[0].shape), np.uint8)}


async def test_it_gives_the_numbers_of_onnxruntime(tiny: ModelRepository) -> None:
    spec = tiny.spec(IMAGE)
    answers = []
    for backend in (OnnxBackend(tiny), OpenvinoBackend(tiny)):
        await backend.load(spec)
        answers.append((await backend.infer(spec, pictures(spec, 3)))["image_features"])
        await backend.close()

    assert answers[1] == pytest.approx(answers[0], abs=0.01)  # bf16 where the processor has it


async def test_what_runs_is_what_the_compiled_model_says(tiny: ModelRepository) -> None:
    backend, spec = OpenvinoBackend(tiny, lanes=2), tiny.spec(IMAGE)
    await backend.load(spec)

    running = backend.describe(spec)
    await backend.close()

    assert (running.provider, running.device, running.threads) == ("OpenVINO", "cpu", 1)
    assert running.precision in ("bf16", "fp32")


async def test_bf16_is_asked_for_exactly_where_the_processor_has_it(tiny: ModelRepository) -> None:
    backend, spec = OpenvinoBackend(tiny), tiny.spec(IMAGE)
    await backend.load(spec)
    running = backend.describe(spec)
    await backend.close()

    assert running.precision == ("bf16" if computes_in_bf16() else "fp32")


class Looks:
    """The two looks of a detector. A picture's score is its value in hundredths; boxes are 1 in the full look and 0 in the quick one."""

    def __init__(self) -> None:
        self.asked: dict[str, list[list[int]]] = {"quick": [], "full": []}
        self.run = openvino.FacesInFull(partial(self._look, "quick", 0), partial(self._look, "full", 1))

    def _look(self, name: str, boxes: int, _spec: ModelSpec, inputs: Any) -> dict[str, Any]:
        rows = inputs["pixels"][:, 0]
        self.asked[name].append(rows.tolist())
        scores = np.stack([rows / np.float32(100), rows / np.float32(200)], axis=1)
        return {"scores": scores, "boxes": np.full((len(rows), 2, 4), boxes, np.float32)}

    def at(self, spec: ModelSpec, *values: int) -> dict[str, Any]:
        return self.run(spec, {"pixels": np.array(values, np.uint8)[:, None]})

    def times(self) -> tuple[int, int]:
        return len(self.asked["quick"]), len(self.asked["full"])


def test_pictures_that_may_hold_a_face_are_computed_again_in_full_precision_and_only_those(tiny: ModelRepository) -> None:
    looks, spec = Looks(), tiny.spec(IMAGE)

    found, nothing = looks.at(spec, 10, 60, 24, 25), looks.at(spec, 3)

    assert looks.asked == {"quick": [[10, 60, 24, 25], [3]], "full": [[60, 25]]}
    assert found["scores"][:, 0] == pytest.approx([0.1, 0.6, 0.24, 0.25])
    assert found["boxes"][:, 0, 0].tolist() == [0, 1, 0, 1]
    assert nothing["scores"].max() == pytest.approx(0.03)


def test_the_quick_look_is_left_out_while_nearly_all_pictures_hold_a_face_and_comes_back(tiny: ModelRepository) -> None:
    looks, spec = Looks(), tiny.spec(IMAGE)

    for _ in range(100):
        found = looks.at(spec, 90, 90)
    quick, full = looks.times()
    for _ in range(100):
        looks.at(spec, 0)
    quick_later, full_later = looks.times()

    assert found["boxes"].min() == 1
    assert full == 100
    assert 5 < quick < 20  # until that was known
    assert 3 < full_later - full < 20  # until it was known that faces had become rare
    assert quick_later - quick == 100 - (full_later - full)


def test_every_lane_has_a_stream_of_one_thread_and_none_is_tied_to_a_core() -> None:
    chosen = openvino._options(3, "f32")

    assert (chosen["NUM_STREAMS"], chosen["INFERENCE_NUM_THREADS"], chosen["ENABLE_CPU_PINNING"]) == (3, 3, False)


async def test_compiled_models_are_kept_in_the_cache(tiny: ModelRepository, tmp_path: Path) -> None:
    cache, spec = tmp_path / "data" / "openvino", tiny.spec(IMAGE)
    for _ in range(2):
        backend = OpenvinoBackend(tiny, cache=cache)
        await backend.load(spec)
        outputs = await backend.infer(spec, pictures(spec, 2))
        await backend.close()
        assert len(outputs["image_features"]) == 2

    assert [path.suffix for path in cache.iterdir()] == [".blob"]


async def test_a_cache_that_cannot_be_written_is_done_without(tiny: ModelRepository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    backend = OpenvinoBackend(tiny, cache=tmp_path / "file" / "openvino")

    await backend.load(tiny.spec(IMAGE))
    await backend.close()


async def test_answers_stay_whole_when_the_request_serves_again(tiny: ModelRepository) -> None:
    backend, spec = OpenvinoBackend(tiny, lanes=1), tiny.spec(IMAGE)
    await backend.load(spec)
    first = (await backend.infer(spec, pictures(spec, 1)))["image_features"]
    kept = first.copy()

    await backend.infer(spec, pictures(spec, 4))
    await backend.close()

    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.UINT8, ["batch", 9, 9, 3])), r"tower\.pixels: the graph has uint8 .*9, 9, 3"),
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.UINT8, [1, 8, 8, 3])), r"tower\.pixels: .*free batch axis"),
        (graphs.clip_text(), r"tower: inputs are tokens, expected pixels"),
        (graphs.not_finite(), r"tower\.image_features: not finite on openvino"),
        (b"no graph at all", r"1/model\.onnx cannot be loaded by openvino: .*; run: python -m export --models tower"),
    ],
    ids=["size", "fixed batch", "another input", "not finite", "garbage"],
)
async def test_a_graph_that_does_not_fit_is_told_by_model_and_field(tmp_path: Path, tiny: ModelRepository, graph: bytes, complaint: str) -> None:
    graphs.install(tmp_path / "r", replace(tiny.spec(IMAGE), name="tower"), graph)
    repository = ModelRepository(tmp_path / "r")
    backend = OpenvinoBackend(repository)

    with pytest.raises(ConfigError, match=complaint) as error:
        await backend.load(repository.spec("tower"))
    await backend.close()

    assert "\n" not in str(error.value)


def test_importing_it_sends_nothing(tiny: ModelRepository) -> None:
    """openvino reports its import to its makers when openvino-telemetry is installed; it takes a silent stand-in when that cannot be imported."""
    OpenvinoBackend(tiny)

    assert sys.modules["openvino_telemetry"] is None
    senders = [module for name, module in sys.modules.items() if name.endswith("ovc.telemetry_utils")]
    assert all(module.tm.__name__.endswith("telemetry_stub") for module in senders)


def test_a_machine_that_it_has_no_device_for_is_told(tiny: ModelRepository) -> None:
    class Core:
        available_devices: tuple[str, ...] = ()

    bare = types.ModuleType("openvino")
    vars(bare)["Core"] = Core

    with pytest.raises(ConfigError, match="backend openvino: this build has no device for this processor; .*--backend cpu"):
        OpenvinoBackend(tiny, runtime=bare)


async def test_a_model_that_was_unloaded_may_be_tried_again(tiny: ModelRepository) -> None:
    backend, spec = OpenvinoBackend(tiny), tiny.spec(IMAGE)
    await backend.load(spec)
    await backend.unload(spec)

    with pytest.raises(TransientError):
        await backend.infer(spec, pictures(spec, 1))
    await backend.close()


async def test_the_engine_runs_on_it(tiny: ModelRepository) -> None:
    config = EngineConfig(model_repository=tiny.root, backend="openvino", operations=("embedding", "objects"), lanes=2)

    async with open_engine(config) as engine:
        vector = await engine.embed_text("a dog")
        assert {running.provider for running in engine.running().values()} == {"OpenVINO"}

    assert np.linalg.norm(vector.vector) == pytest.approx(1, abs=0.01)


async def test_every_exported_model_fits_its_spec_and_agrees_with_onnxruntime(exported: ModelRepository) -> None:
    ours, theirs = OpenvinoBackend(exported, lanes=2), OnnxBackend(exported, lanes=2)
    for name in exported.names():
        spec = exported.spec(name)
        await ours.load(spec)
        if spec.family is Family.CLIP_IMAGE:
            await theirs.load(spec)
            rows = pictures(spec, 2)
            found = [(await backend.infer(spec, rows))["image_features"] for backend in (ours, theirs)]
            assert (found[0] * found[1]).sum(axis=1).min() >= 0.999
        await ours.unload(spec)
    await ours.close()
    await theirs.close()
