"""onnxruntime: what a graph must be, what really runs, and what its exceptions mean."""

import importlib
import types
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import psutil
import pytest

from kizu_fast import specs
from kizu_fast.backends.onnx import KINDS, OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.specs import Family, Tensors

IMAGE = "clip-vit-b-32-openai-image"


async def load(root: Path, graph: bytes, name: str = "tower") -> None:
    """Install one graph as an image tower and load it."""
    graphs.install(root, specs.clip_image(name, side=graphs.SIDE, dim=graphs.DIM, space="s"), graph)
    repository = ModelRepository(root)
    backend = OnnxBackend(repository)
    try:
        await backend.load(repository.spec(name))
    finally:
        await backend.close()


async def test_the_graph_s_own_numbers_come_out(tiny: ModelRepository) -> None:
    backend, spec = OnnxBackend(tiny), tiny.spec(IMAGE)
    await backend.load(spec)
    pixels = np.random.default_rng(0).integers(0, 256, (3, graphs.SIDE, graphs.SIDE, 3), np.uint8)

    outputs = await backend.infer(spec, {"pixels": pixels})
    await backend.close()

    flat = pixels.reshape(3, -1).astype(np.float32)
    assert outputs["image_features"] == pytest.approx(flat / np.linalg.norm(flat, axis=1, keepdims=True), abs=1e-6)


async def test_what_runs_is_what_onnxruntime_says_after_an_inference(tiny: ModelRepository) -> None:
    backend = OnnxBackend(tiny)
    await backend.load(tiny.spec(IMAGE))

    running = backend.describe(tiny.spec(IMAGE))
    await backend.close()

    assert (running.provider, running.device, running.precision, running.threads) == ("CPUExecutionProvider", "cpu", "fp32", 1)


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.UINT8, ["batch", 9, 9, 3])), r"tower\.pixels: the graph has uint8 .*9, 9, 3"),
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.FLOAT, ["batch", 8, 8, 3])), r"tower\.pixels: the graph has float32"),
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.UINT8, [1, 8, 8, 3])), r"tower\.pixels: .*free batch axis"),
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.UINT8, ["b", "h", "w", 3])), r"tower\.pixels: the graph has uint8"),
        (graphs.clip_image(pixels=graphs.tensor("pixels", graphs.UINT8, ["b", 64, 3])), r"tower\.pixels: the graph has uint8"),
        (graphs.clip_text(), r"tower: inputs are tokens, expected pixels"),
        (graphs.yolo(), r"tower\.pixels: the graph has uint8"),
        (graphs.not_finite(), r"tower\.image_features: not finite on cpu"),
    ],
    ids=["size", "dtype", "fixed batch", "free size", "rank", "another input", "another family", "not finite"],
)
async def test_a_graph_that_does_not_fit_its_spec_is_told_by_model_and_field(tmp_path: Path, graph: bytes, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        await load(tmp_path, graph)

    assert "\n" not in str(error.value)
    assert "python -m export --models tower" in str(error.value)


async def test_an_output_of_another_length_is_told(tmp_path: Path) -> None:
    graphs.install(tmp_path, specs.clip_image("tower", side=graphs.SIDE, dim=512, space="s"), graphs.clip_image())
    backend, spec = OnnxBackend(ModelRepository(tmp_path)), ModelRepository(tmp_path).spec("tower")

    with pytest.raises(ConfigError, match=r"tower\.image_features: the graph has float32 \['batch', 192\], expected float32 \[512\]"):
        await backend.load(spec)
    await backend.close()


async def test_an_output_that_the_graph_leaves_open_is_proved_by_the_inference(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tower\.image_features: the graph gives float32 \[114\], expected float32 \[192\]"):
        await load(tmp_path, graphs.as_long_as_its_brightest_pixel())


@pytest.mark.parametrize("graph", [b"", b"no graph at all", graphs.clip_image()[:-40]], ids=["empty", "garbage", "cut"])
async def test_a_broken_file_is_told_with_its_path_and_the_command_that_mends_it(tmp_path: Path, graph: bytes) -> None:
    with pytest.raises(ConfigError, match=r"1/model\.onnx cannot be loaded: .*; run: python -m export --models tower"):
        await load(tmp_path, graph)


async def test_a_missing_model_is_told_with_the_command_that_brings_it(tmp_path: Path, tiny: ModelRepository) -> None:
    backend = OnnxBackend(ModelRepository(tmp_path / "elsewhere"))

    with pytest.raises(ConfigError, match=f"python -m export --models {IMAGE}"):
        await backend.load(tiny.spec(IMAGE))
    await backend.close()


@pytest.mark.parametrize(
    ("kind", "advice"), [("cuda", r"pip install 'kizu-fast\[gpu\]' instead of"), ("tensorrt", "TensorRT"), ("coreml", "needs a Mac")]
)
def test_a_provider_that_is_not_installed_is_never_replaced_by_the_cpu(tiny: ModelRepository, kind: str, advice: str) -> None:
    provider = KINDS[kind].providers[0][0]
    if provider in importlib.import_module("onnxruntime").get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")

    with pytest.raises(ConfigError, match=f"backend {kind}: this onnxruntime has no {provider}; .*{advice}"):
        OnnxBackend(tiny, kind=kind)


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
async def test_a_provider_that_is_listed_but_does_not_work_is_told_instead_of_running_on_the_cpu(tiny: ModelRepository) -> None:
    """The GPU build on a machine without a GPU lists CUDA, warns, and runs on the CPU."""
    real = importlib.import_module("onnxruntime")
    if "CUDAExecutionProvider" in real.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    boasting = types.ModuleType("onnxruntime")
    vars(boasting).update(vars(real), get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    backend = OnnxBackend(tiny, kind="cuda", runtime=boasting)

    with pytest.raises(ConfigError, match=rf"backend cuda: onnxruntime would run {IMAGE} on CPUExecutionProvider instead"):
        await backend.load(tiny.spec(IMAGE))
    await backend.close()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_asks_for_its_provider_first_and_the_cpu_last(kind: str) -> None:
    providers = [provider for provider, _ in KINDS[kind].providers]

    assert providers[-1] == "CPUExecutionProvider"
    assert (len(providers) == 1) == (kind == "cpu")
    assert KINDS[kind].in_lanes == (kind == "cpu")


def test_on_a_cpu_detectors_run_one_by_one_and_clip_in_batches(tiny: ModelRepository) -> None:
    profile = OnnxBackend(tiny, lanes=4).profile

    assert (profile.lanes, profile.in_lanes) == (4, True)
    assert profile.largest_batch(tiny.spec(IMAGE)) == 8
    assert profile.largest_batch(tiny.spec("yolov8m")) == 1


async def test_onnxruntime_prints_nothing_even_when_it_refuses(tiny: ModelRepository, capfd: pytest.CaptureFixture[str]) -> None:
    backend, spec = OnnxBackend(tiny), tiny.spec(IMAGE)
    await backend.load(spec)
    bad: Tensors = {"pixels": np.zeros((1, 5, 5, 3), np.uint8)}

    with pytest.raises(PermanentError, match=f"{IMAGE}: the graph refuses its input"):
        await backend.infer(spec, bad)
    await backend.close()

    assert capfd.readouterr() == ("", "")


async def test_a_session_starts_no_threads_beside_the_lanes(tiny: ModelRepository) -> None:
    before = psutil.Process().num_threads()
    backend = OnnxBackend(tiny, lanes=2)
    for name in tiny.names():
        await backend.load(tiny.spec(name))

    assert psutil.Process().num_threads() <= before + 2
    await backend.close()


async def test_every_exported_model_fits_its_spec_and_runs(exported: ModelRepository) -> None:
    backend = OnnxBackend(exported, lanes=2)
    for name in exported.names():
        await backend.load(exported.spec(name))
        assert backend.describe(exported.spec(name)).provider == "CPUExecutionProvider"
        await backend.unload(exported.spec(name))
    await backend.close()


async def test_an_exported_clip_gives_the_same_vector_alone_and_in_a_batch(exported: ModelRepository) -> None:
    name = next((name for name in exported.names() if exported.spec(name).family is Family.CLIP_IMAGE), None)
    if name is None:
        pytest.skip("no CLIP image tower is exported yet: run `make export`")
    backend, spec = OnnxBackend(exported), exported.spec(name)
    await backend.load(spec)
    batch: Any = np.random.default_rng(0).integers(0, 256, (3, *spec.inputs[0].shape), np.uint8)

    together = (await backend.infer(spec, {"pixels": batch}))["image_features"]
    alone = (await backend.infer(spec, {"pixels": batch[1:2]}))["image_features"]
    await backend.close()

    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-4)
    assert alone[0] == pytest.approx(together[1], abs=1e-5)
