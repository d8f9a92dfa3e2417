"""The checks behind an installed graph: each is shown a graph that it has to refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export import graph, parity, run
from export.sources.clip import towers as clip_towers
from kizu_fast import specs
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec

SPEC = specs.clip_text("x", context=4, dim=4, space="s")


def write(path: Path, **odd: Any) -> Path:
    """A graph that casts its tokens to floats, right but for what odd says."""
    batch: Any = odd.get("batch", "n")
    tokens = helper.make_tensor_value_info("tokens", odd.get("dtype", TensorProto.INT32), [batch, 4])
    features = helper.make_tensor_value_info(odd.get("output", "text_features"), TensorProto.FLOAT, [batch, *odd.get("tail", [4])])
    nodes = [helper.make_node("Cast", ["tokens"], [features.name], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Identity", ["tokens"], ["twice"]) for _ in range(odd.get("twice", 0))]
    model = helper.make_model(helper.make_graph(nodes, "g", [tokens], [features]), opset_imports=[helper.make_opsetid("", odd.get("opset", 18))])
    model.ir_version = odd.get("ir", 9)
    onnx.save(model, str(path))
    return path


def test_a_right_graph_passes(tmp_path: Path) -> None:
    assert graph.check(write(tmp_path / "m.onnx"), SPEC) == {"opset": 18, "ir_version": 9, "nodes": 1}


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        ({"batch": 1}, r"tokens is \[1, 4\]"),
        ({"tail": ["k"]}, r"text_features is \[-1, -1\]"),
        ({"dtype": TensorProto.INT64}, "instead of .* int32"),
        ({"output": "embedding"}, "tensors embedding instead of text_features"),
        ({"twice": 2}, "value twice is defined twice"),
        ({"opset": 17}, "opset 17 instead of 18"),
        ({"ir": 11}, "IR version 11 is newer than 10"),
    ],
)
def test_a_wrong_graph_is_refused_by_what_is_wrong(tmp_path: Path, odd: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        graph.check(write(tmp_path / "m.onnx", **odd), SPEC)


def test_declaring_gives_the_graph_the_shapes_of_its_spec(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", tail=["Concatboxes_dim_1"])
    graph.declare(path, SPEC)
    graph.check(path, SPEC)


def test_declaring_a_tensor_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tensor text_features"):
        graph.declare(write(tmp_path / "m.onnx", output="other"), SPEC)


def test_a_file_that_onnxruntime_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="onnxruntime refuses it") as caught:
        graph.Session(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


def test_a_session_answers_by_name(tmp_path: Path) -> None:
    out = graph.Session(write(tmp_path / "m.onnx")).run({"tokens": np.arange(8, dtype=np.int32).reshape(2, 4)})
    assert out["text_features"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_large_weights_beside_the_graph_survive_declaring(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.arange(4096, dtype=np.float32).reshape(4, 1024)[:, :4].copy(), "w")
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT32, ["n", 4])
    features = helper.make_tensor_value_info("text_features", TensorProto.FLOAT, ["n", 4])
    nodes = [helper.make_node("Cast", ["tokens"], ["f"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["f", "w"], ["text_features"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [tokens], [features], [weight]), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    before = graph.Session(path).run({"tokens": np.ones((1, 4), np.int32)})["text_features"]
    graph.declare(path, SPEC)
    assert np.array_equal(graph.Session(path).run({"tokens": np.ones((1, 4), np.int32)})["text_features"], before)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({"cosine_min": 0.99}, "cosine_min 0.990000 is below 0.9999"),
        ({"cosine_min": 1.0, "centred_cosine_min": 0.5}, "centred_cosine_min 0.500000"),
        ({"cosine_min": float("nan")}, "cosine_min nan"),
        ({"score_difference": 0.1}, "score_difference 0.1 is above 0.001"),
        ({"box_difference_px": 2.0}, "box_difference_px 2 is above 0.1"),
        ({"batch_difference": 1.0}, "batch_difference 1 is above"),
    ],
)
def test_figures_that_miss_their_bound_install_nothing(figures: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=f"x: parity with the original failed, {text}.*nothing was installed"):
        parity.demand("x", figures)


def test_a_failed_parity_leaves_the_repository_as_it_was(tiny: str, job: Callable[..., Any], tmp_path: Path) -> None:
    """The real chain with a wrong graph: the exported tower is negated before it is compared."""
    from export import clip as clips  # noqa: PLC0415
    from export import install  # noqa: PLC0415

    towers = clip_towers(tiny, "random")[:1]
    loaded = clips.load(towers[0].original, clips.Weights(None, "random", None, ""))
    work = job("random")

    class Negated(clips.ImageTower):
        def forward(self, pixels: Any) -> Any:
            return -super().forward(pixels)

    spec = specs.clip_image(towers[0].name, side=64, dim=32, space=loaded.space)
    with install.alone(work.repository), install.staging(work.repository, towers[0].name) as folder:
        path = folder / "1" / "model.onnx"
        with run.quiet(), clips.torch.no_grad():
            clips._export(Negated(loaded.model).eval(), clips.torch.zeros(2, 64, 64, 3, dtype=clips.torch.uint8), spec, path)
            figures = image_parity(clips, loaded, spec, path)
        with pytest.raises(ConfigError, match="parity with the original failed, cosine_min -1"):
            parity.demand(towers[0].name, figures)
    assert [entry.name for entry in work.repository.iterdir()] == [".lock"]


def image_parity(clips: Any, loaded: Any, spec: ModelSpec, path: Path) -> dict[str, Any]:
    rows = [clips.image_model.preprocess(photo, 64) for photo in parity.pictures(4)]
    theirs = clips.ImageTower(loaded.model).eval()(clips.torch.from_numpy(np.stack(rows))).numpy()
    figures: dict[str, Any] = clips._vector_parity(path, spec, rows, theirs, clips.image_model.postprocess)
    return figures


def candidate_outputs(boxes: np.ndarray, scores: np.ndarray, keep: int) -> dict[str, Any]:
    order = np.argsort(-scores.max(axis=1), kind="stable")[:keep]
    return {
        "boxes": boxes[order].astype(np.float32),
        "scores": scores[order].max(axis=1).astype(np.float32),
        "classes": scores[order].argmax(axis=1).astype(np.int32),
    }


def test_candidates_in_another_order_of_equal_scores_are_the_same() -> None:
    generator = np.random.default_rng(0)
    boxes, scores = generator.uniform(0, 600, (900, 4)), generator.uniform(0, 1, (900, 3)).round(1)
    outputs = candidate_outputs(boxes, scores, 200)
    tied = outputs["scores"] == outputs["scores"][0]
    shuffled = generator.permutation(int(tied.sum()))
    for key in ("boxes", "classes"):
        outputs[key][: len(shuffled)] = outputs[key][: len(shuffled)][shuffled]
    figures = parity.compare_candidates(outputs, boxes, scores)
    assert figures["score_difference"] < 1e-6
    assert figures["box_difference_px"] < 1e-3


@pytest.mark.parametrize(("key", "by", "figure"), [("boxes", 3.0, "box_difference_px"), ("scores", 0.05, "score_difference")])
def test_candidates_that_are_off_are_seen(key: str, by: float, figure: str) -> None:
    generator = np.random.default_rng(0)
    boxes, scores = generator.uniform(0, 600, (900, 4)), generator.uniform(0, 1, (900, 3))
    outputs = candidate_outputs(boxes, scores, 200)
    outputs[key][17] -= by
    with pytest.raises(ConfigError, match=figure):
        parity.demand("x", parity.compare_candidates(outputs, boxes, scores))
