"""Ways to call a session, on the CPU: bound tensors, and static shapes with a stand-in for those that a provider refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnxruntime
import pytest

from kizu_fast.backends import providers
from kizu_fast.backends.onnx import KINDS, OnnxBackend
from kizu_fast.backends.providers import CPU, Limits
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.backends.sessions import Shape, StaticSessions, bound, plain
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec

IMAGE = "clip-vit-b-32-openai-image"


def session(path: Path, sizes: dict[str, int] | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(str(path), options, providers=[CPU])


def pictures(rows: int) -> dict[str, Any]:
    return {"pixels": np.random.default_rng(rows).integers(1, 256, (rows, graphs.SIDE, graphs.SIDE, 3), np.uint8)}


@pytest.fixture
def spec(tiny: ModelRepository) -> ModelSpec:
    return tiny.spec(IMAGE)


Static = Callable[..., StaticSessions]


@pytest.fixture
def static(tiny: ModelRepository) -> Static:
    def make(*, refuse: int | None = None, sizes: tuple[int, ...] = (1, 4)) -> StaticSessions:
        def open_one(shape: Shape) -> Any:
            if shape.batch == refuse:
                raise RuntimeError("no kernel for TopK")
            return session(tiny.path(IMAGE), {"batch": shape.batch})

        return StaticSessions(open_one, lambda shape: session(tiny.path(IMAGE), {"batch": shape.batch}), (RuntimeError,), sizes)

    return make


def test_tensors_bound_to_a_device_give_the_same_numbers(tiny: ModelRepository, spec: ModelSpec) -> None:
    opened = session(tiny.path(IMAGE))

    there = bound(onnxruntime, opened, "cpu")(spec, pictures(3))

    assert there.keys() == {"image_features"}
    assert np.array_equal(there["image_features"], plain(opened)(spec, pictures(3))["image_features"])


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9])
def test_static_sessions_answer_any_batch_as_a_free_one_does(tiny: ModelRepository, spec: ModelSpec, static: Static, rows: int) -> None:
    wanted = plain(session(tiny.path(IMAGE)))(spec, pictures(rows))

    found = static().run(spec, pictures(rows))

    assert found["image_features"].shape == (rows, graphs.DIM)
    assert found["image_features"] == pytest.approx(wanted["image_features"], abs=1e-6)


def test_a_session_per_size_is_opened_once(spec: ModelSpec, static: Static) -> None:
    sessions = static()
    for rows in (1, 3, 4, 1, 2):
        sessions.run(spec, pictures(rows))

    assert sorted(sessions._sessions) == [Shape(None, 1), Shape(None, 4)]


def test_a_shape_that_the_provider_refuses_runs_elsewhere_and_says_why(spec: ModelSpec, static: Static) -> None:
    sessions = static(refuse=4)

    assert len(sessions.run(spec, pictures(3))["image_features"]) == 3
    assert sessions.fallen_back == {Shape(None, 4): "no kernel for TopK"}


def test_a_shape_is_written_for_people() -> None:
    assert str(Shape((480, 640), 1)) == "480x640 b1"
    assert str(Shape(None, 8)) == "b8"


def on_cpu(models: ModelRepository, **choices: Any) -> OnnxBackend:
    """A kind that is built as those for accelerators are, with the provider that every machine has."""
    return OnnxBackend(models, kind="trial", kinds={"trial": replace(KINDS["cpu"], in_lanes=False, **choices)})


async def test_static_shapes_serve_every_bucket_of_a_detector(tiny: ModelRepository) -> None:
    backend, objects = on_cpu(tiny, static=True), tiny.spec("yolov8m")
    await backend.load(objects)

    for bucket in objects.buckets:
        outputs = await backend.infer(objects.at(bucket), {"pixels": np.full((2, *bucket, 3), 7, np.uint8)})
        assert outputs["boxes"].shape == (2, 1000, 4)
    assert backend.describe(objects).note is None
    await backend.close()


async def test_what_stays_on_the_cpu_is_told_of_an_accelerated_model(tiny: ModelRepository) -> None:
    backend, spec = on_cpu(tiny), tiny.spec(IMAGE)
    await backend.load(spec)

    note = backend.describe(spec).note
    await backend.close()

    assert note is not None
    assert "nodes on the CPU" in note
    assert "Cast 1" in note


async def test_the_fp16_variant_is_taken_where_it_is_there_and_named(tiny: ModelRepository) -> None:
    spec = tiny.spec(IMAGE)
    backend = on_cpu(tiny, half=True)
    await backend.load(spec)
    assert backend.describe(spec).precision == "fp32"
    await backend.unload(spec)
    graphs.install(tiny.root, replace(spec, name=f"{IMAGE}-fp16"), graphs.clip_image())

    await backend.load(spec)

    assert backend.describe(spec).precision == "fp16"
    await backend.close()


async def test_a_cache_that_cannot_be_made_names_the_folder_and_the_setting(tiny: ModelRepository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    backend = OnnxBackend(tiny)
    chosen: providers.Providers = [(CPU, {"ModelCacheDirectory": str(tmp_path / "file" / "coreml")})]

    with pytest.raises(ConfigError, match=r"file/coreml: .*set KIZU_DATA_DIR to a folder you can write"):
        backend._session(tiny.spec(IMAGE), tiny.path(IMAGE), chosen)
    await backend.close()


def test_limits_say_nothing_by_default() -> None:
    assert Limits() == Limits(cache=None, gpu_memory_bytes=None)
