"""What every backend promises, run on the fake one and on onnxruntime. A fake that fails here is no fake of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest

from kizu_fast import specs
from kizu_fast.backends import Backend, fake
from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.errors import ConfigError, PermanentError, TransientError
from kizu_fast.specs import ModelSpec

BUCKET = (480, 640)


class Models:
    """A backend with the specs of what it can run."""

    def __init__(self, backend: Backend, image: ModelSpec, objects: ModelSpec) -> None:
        self.backend, self.image, self.objects = backend, image, objects

    def pictures(self, batch: int, seed: int = 0) -> dict[str, Any]:
        shape = (batch, *self.image.inputs[0].shape)
        return {"pixels": np.random.default_rng(seed).integers(1, 256, shape, np.uint8)}


@pytest.fixture(params=["fake", "onnx"])
async def models(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Models]:
    if request.param == "fake":
        made = Models(fake.FakeBackend(), fake.IMAGE, fake.OBJECTS)
    else:
        graphs.install_clip(tmp_path)
        graphs.install_yolo(tmp_path)
        repository = ModelRepository(tmp_path)
        made = Models(OnnxBackend(repository, lanes=2), repository.spec("clip-vit-b-32-openai-image"), repository.spec("yolov8m"))
    await made.backend.load(made.image)
    await made.backend.load(made.objects)
    yield made
    await made.backend.close()


@pytest.mark.parametrize("batch", [1, 3, 8])
async def test_outputs_have_the_names_shapes_and_dtypes_of_the_spec(models: Models, batch: int) -> None:
    outputs = await models.backend.infer(models.image, models.pictures(batch))

    for tensor in models.image.outputs:
        assert outputs[tensor.name].shape == (batch, *tensor.shape)
        assert outputs[tensor.name].dtype == specs.DTYPES[tensor.dtype]


async def test_a_model_with_buckets_runs_at_each(models: Models) -> None:
    for bucket in models.objects.buckets:
        outputs = await models.backend.infer(models.objects.at(bucket), {"pixels": np.full((2, *bucket, 3), 7, np.uint8)})
        assert {name: output.shape for name, output in outputs.items()} == {"boxes": (2, 1000, 4), "scores": (2, 1000), "classes": (2, 1000)}


async def test_vectors_have_length_one(models: Models) -> None:
    outputs = await models.backend.infer(models.image, models.pictures(4))

    assert np.linalg.norm(outputs["image_features"], axis=1) == pytest.approx(1, abs=1e-5)


async def test_a_row_s_answer_does_not_depend_on_its_batch(models: Models) -> None:
    batch = models.pictures(5)
    together = (await models.backend.infer(models.image, batch))["image_features"]

    for i in range(5):
        alone = (await models.backend.infer(models.image, {"pixels": batch["pixels"][i : i + 1]}))["image_features"]
        assert alone[0] == pytest.approx(together[i], abs=1e-6)


async def test_many_tasks_may_ask_at_once_and_each_gets_its_own_answer(models: Models) -> None:
    asked = [models.pictures(1, seed) for seed in range(20)]
    one_by_one = [(await models.backend.infer(models.image, batch))["image_features"] for batch in asked]

    at_once = await asyncio.gather(*(models.backend.infer(models.image, batch) for batch in asked))

    for before, now in zip(one_by_one, at_once, strict=True):
        assert now["image_features"] == pytest.approx(before)


async def test_inputs_of_another_shape_are_refused_for_good(models: Models) -> None:
    with pytest.raises(PermanentError):
        await models.backend.infer(models.image, {"pixels": np.zeros((1, 3, 3, 3), np.uint8)})


async def test_inputs_of_another_dtype_are_refused_for_good(models: Models) -> None:
    with pytest.raises(PermanentError):
        await models.backend.infer(models.image, {"pixels": models.pictures(1)["pixels"].astype(np.float32)})


async def test_inputs_of_another_name_are_refused_for_good(models: Models) -> None:
    with pytest.raises(PermanentError):
        await models.backend.infer(models.image, {"picture": models.pictures(1)["pixels"]})


async def test_after_a_refused_batch_the_next_one_is_served(models: Models) -> None:
    with pytest.raises(PermanentError):
        await models.backend.infer(models.image, {"pixels": np.zeros((1, 3, 3, 3), np.uint8)})

    assert len((await models.backend.infer(models.image, models.pictures(1)))["image_features"]) == 1


async def test_what_runs_is_described_once_it_is_loaded(models: Models) -> None:
    running = models.backend.describe(models.image)

    assert running.provider
    assert running.device
    assert running.threads == 1
    with pytest.raises(ConfigError, match="stranger is not loaded"):
        models.backend.describe(replace(models.image, name="stranger"))


async def test_a_model_that_is_not_loaded_may_be_tried_again_later(models: Models) -> None:
    with pytest.raises(TransientError, match="stranger"):
        await models.backend.infer(replace(models.image, name="stranger"), models.pictures(1))


async def test_loading_twice_is_loading_once(models: Models) -> None:
    await models.backend.load(models.image)

    assert (await models.backend.infer(models.image, models.pictures(1))).keys() == {"image_features"}


async def test_an_unloaded_model_is_gone_and_can_be_loaded_again(models: Models) -> None:
    await models.backend.unload(models.image)
    await models.backend.unload(models.image)  # unknown models are ignored
    with pytest.raises(ConfigError):
        models.backend.describe(models.image)

    await models.backend.load(models.image)
    assert models.backend.describe(models.image).threads == 1


async def test_no_batch_is_larger_than_the_spec_allows(models: Models) -> None:
    profile = models.backend.profile

    assert profile.lanes >= 1
    assert 1 <= profile.largest_batch(models.image) <= models.image.max_batch
    assert 1 <= profile.largest_batch(models.objects) <= models.objects.max_batch
    assert replace(profile, full_batches=True).largest_batch(models.objects) == models.objects.max_batch
