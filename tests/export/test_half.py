"""fp16 graphs: what becomes half precision, what stays, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import graph, half
from kizu_fast import specs
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family, ModelSpec

SIDE, DIM = 8, 16


def tower(dim: int = DIM) -> onnx.ModelProto:
    """An image tower as exports make it: bytes in, one large product, a norm as its tail."""
    weights = np.random.default_rng(3).standard_normal((SIDE * SIDE * 3, dim)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["unit"]),
        helper.make_node("Flatten", ["unit"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["image_features"], axis=1, p=2),
    ]
    made = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("image_features", TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array(255, np.float32), "scale")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.OPSET)], ir_version=10)


@pytest.fixture
def spec() -> ModelSpec:
    return specs.clip_image("tower-fp16", side=SIDE, dim=DIM, space="s")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "tower"
    (folder / "1").mkdir(parents=True)
    onnx.save(tower(), str(folder / "1" / "model.onnx"))
    (folder / "labels.txt").write_text("dog\n")
    return folder


def test_bytes_go_in_float32_comes_out_and_the_weights_are_halved() -> None:
    halved = half.convert(tower())

    assert halved.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert halved.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert {tensor.data_type for tensor in halved.graph.initializer if tensor.name == "weights"} == {TensorProto.FLOAT16}
    onnx.checker.check_model(halved)  # nodes in the order of use among others


def test_what_follows_the_last_large_operator_stays_in_fp32() -> None:
    model = tower()
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"

    assert half.tail(model) == ["n4"]


def test_a_convolution_of_few_weights_belongs_to_the_tail() -> None:
    """YOLOv8 takes the mean over 16 bins by one."""
    nodes = [
        helper.make_node("Conv", ["x", "large"], ["a"], name="trunk"),
        helper.make_node("Softmax", ["a"], ["b"], name="bins"),
        helper.make_node("Conv", ["b", "small"], ["y"], name="mean"),
    ]
    initial = [
        helper.make_tensor("large", TensorProto.FLOAT, [16, 16, 3, 3], [0.0] * 2304),
        helper.make_tensor("small", TensorProto.FLOAT, [1, 16, 1, 1], [0.0] * 16),
    ]

    assert set(half.tail(helper.make_model(helper.make_graph(nodes, "g", [], [], initial)))) == {"bins", "mean"}


def test_an_input_of_resize_that_is_left_out_stays_out() -> None:
    empty = helper.make_tensor("none", TensorProto.FLOAT, [0], [])
    model = helper.make_model(helper.make_graph([helper.make_node("Resize", ["x", "none", "none", "sizes"], ["y"])], "g", [], [], [empty]))

    half._drop_empty_inputs(model)

    assert list(model.graph.node[0].input) == ["x", "", "", "sizes"]


def test_a_variant_is_written_with_its_files_and_answers_almost_as_the_original(source: Path, spec: ModelSpec, tmp_path: Path) -> None:
    facts = half.write(source, spec, tmp_path / "half")
    full, variant = source / "1" / "model.onnx", tmp_path / "half" / "1" / "model.onnx"

    figures = half.agreement(spec, full, variant, source / "tokenizer.json")

    assert facts["opset"] == graph.OPSET
    assert (tmp_path / "half" / "labels.txt").read_text() == "dog\n"
    assert 0.999 <= figures["cosine_min"] <= 1.0001
    assert figures["max_abs_difference"] > 0  # it is another graph, not a copy
    half.demand(spec.name, spec.family, figures)


@pytest.mark.parametrize(
    ("family", "figures", "complaint"),
    [
        (Family.CLIP_IMAGE, {"cosine_min": 0.998}, "cosine_min 0.998000 is below 0.999"),
        (Family.FACE_EMBEDDER, {"cosine_min": 0.99}, "cosine_min 0.990000 is below 0.995"),
        (Family.CLIP_TEXT, {"cosine_min": float("nan")}, "cosine_min nan"),
        (Family.YOLO, {"iou_min": 0.5, "score_difference": 0.0}, "iou_min 0.500000 is below 0.9"),
        (Family.YOLO, {"iou_min": 1.0, "score_difference": 0.2}, "score_difference 0.2 is above 0.03"),
    ],
)
def test_a_variant_too_far_away_is_refused_with_figure_and_gate(family: Family, figures: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        half.demand("m-fp16", family, figures)


def test_sure_candidates_are_looked_for_among_the_variant_s() -> None:
    boxes, scores = np.zeros((1, 3, 4), np.float32), np.array([[0.9, 0.5, 0.1]], np.float32)
    boxes[0, 0], boxes[0, 1] = (0, 0, 100, 100), (200, 200, 300, 300)
    whole = {"boxes": boxes, "scores": scores}
    moved = {"boxes": boxes[:, [1, 0, 2]] + 1, "scores": scores[:, [1, 0, 2]] - np.float32(0.01)}

    found = half.candidates([whole], [moved])

    assert 0.95 < found["iou_min"] < 1
    assert found["score_difference"] == pytest.approx(0.01, abs=1e-6)
    assert half.candidates([{"boxes": boxes, "scores": scores * 0}], [moved]) == {"iou_min": 1.0, "score_difference": 0.0}
