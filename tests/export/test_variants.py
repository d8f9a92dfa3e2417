"""--precision fp16: variants beside the models, made once, never in the place of a better answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export import run, variants
from export.download import Downloader
from export.sources import clip
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.specs import Family, ModelSpec, TensorSpec, half_name


@pytest.fixture(scope="module")
def exported(tiny: str, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[run.Outcome, Any]:
    """Both towers of a tiny CLIP, in fp32. One export for all tests of this file: it takes seconds."""
    home = tmp_path_factory.mktemp("variants")
    made = run.Job(home / "repository", home / "cache", tiny_weights, Downloader(), lambda _: None)
    outcome = run.export(clip.towers(tiny, "mine"), made)
    assert outcome.failures == {}
    return outcome, made


def test_every_model_gets_a_variant_whose_manifest_says_what_it_is(exported: tuple[run.Outcome, Any]) -> None:
    outcome, job = exported

    halved = variants.halve(outcome, job)

    assert halved.failures == {}
    assert set(halved.manifests) == {*outcome.manifests, *map(half_name, outcome.manifests)}
    for name, full in outcome.manifests.items():
        manifest = json.loads((job.repository / half_name(name) / "manifest.json").read_text())
        assert (manifest["precision"], manifest["half_of"], manifest["source"]) == ("fp16", name, full["source"])
        assert manifest["parity"]["cosine_min"] >= 0.999
        assert full["precision"] == "fp32"
        assert (job.repository / half_name(name) / "config.pbtxt").read_text().count(half_name(name)) >= 1


def test_the_repository_reads_variants_and_never_takes_one_for_a_space_s_tower(exported: tuple[run.Outcome, Any]) -> None:
    outcome, job = exported
    variants.halve(outcome, job)
    repository = ModelRepository(job.repository)

    for name in outcome.manifests:
        assert repository.half(name) == job.repository / half_name(name) / "1" / "model.onnx"
        spec = repository.spec(name)
        assert repository.spec(half_name(name)).outputs == spec.outputs
        assert spec.space is not None
        assert repository.find_space(spec.space, spec.family) == name


def test_a_second_call_does_nothing_and_a_new_export_makes_them_anew(exported: tuple[run.Outcome, Any]) -> None:
    outcome, job = exported
    variants.halve(outcome, job)
    before = {path: path.stat().st_mtime_ns for path in job.repository.glob("*-fp16/1/model.onnx")}

    variants.halve(outcome, job)
    assert {path: path.stat().st_mtime_ns for path in job.repository.glob("*-fp16/1/model.onnx")} == before

    name, first = next(iter(outcome.manifests.items()))
    changed = run.Outcome({name: {**first, "onnx_sha256": "another"}})
    variants.halve(changed, job)
    assert (job.repository / half_name(name) / "1" / "model.onnx").stat().st_mtime_ns != before[job.repository / half_name(name) / "1" / "model.onnx"]


def test_a_family_without_a_variant_is_said_and_left_alone(job: Callable[..., Any]) -> None:
    tensor = TensorSpec("x", "float32", (1,))
    spec = ModelSpec("reader", Family.PPOCR_RECOGNISER, (tensor,), (tensor,), (1,), 0, "a", "b")
    said: list[str] = []

    outcome = variants.halve(run.Outcome({"reader": {"spec": spec.as_record(), "onnx_sha256": "x"}}), job(None, say=said.append))

    assert set(outcome.manifests) == {"reader"}
    assert any("reader: left in fp32" in line for line in said)
