"""One file from a graph and the weights beside it: the same that onnx.save() writes of the loaded model."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import external_data_helper, helper, numpy_helper

from export import streamed
from kizu_fast.errors import ConfigError

LARGE = np.random.default_rng(0).normal(size=(5, 70)).astype(np.float32)  # beside the graph
SMALL = np.arange(70, dtype=np.float32)  # in it


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    """x @ LARGE.T + SMALL[:5], with LARGE in weights.data of tmp_path."""
    nodes = [
        helper.make_node("Gemm", ["x", "large"], ["y"], transB=1),
        helper.make_node("Slice", ["small", "from", "to"], ["some"]),
        helper.make_node("Add", ["y", "some"], ["sum"]),
    ]
    values = {"large": LARGE, "small": SMALL, "from": np.array([0]), "to": np.array([5])}
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 70])
    total = helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, ["batch", 5])
    made = helper.make_model(helper.make_graph(nodes, "sums", [x], [total], tensors), opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    beside = made.graph.initializer[0]
    (tmp_path / "weights.data").write_bytes(b"other" + beside.raw_data)
    external_data_helper.set_external_data(beside, "weights.data", offset=5, length=LARGE.nbytes)
    beside.ClearField("raw_data")
    return made


def written(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "apart" / "model.onnx"
    path.parent.mkdir()
    streamed.write(model, folder, path)
    return path


def test_the_file_holds_what_the_loaded_model_holds(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = written(model, tmp_path)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    external_data_helper.load_external_data_for_model(whole, str(tmp_path))
    assert onnx.load(str(path), load_external_data=False) == whole
    onnx.checker.check_model(str(path), full_check=True)


def test_the_file_is_as_long_as_onnx_would_write_it(model: onnx.ModelProto, tmp_path: Path) -> None:
    """No field stands twice, and every size is right: the same fields in another order."""
    path = written(model, tmp_path)
    onnx.save(onnx.load(str(path)), str(tmp_path / "theirs.onnx"))
    assert path.stat().st_size == (tmp_path / "theirs.onnx").stat().st_size


def test_the_run_time_computes_with_both_kinds_of_weights(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = written(model, tmp_path)
    (tmp_path / "weights.data").unlink()
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    x = np.ones((3, 70), np.float32)
    assert np.allclose(session.run(None, {"x": x})[0], x @ LARGE.T + SMALL[:5], atol=1e-4)


def test_the_model_in_memory_stays_without_its_weights(model: onnx.ModelProto, tmp_path: Path) -> None:
    before = model.SerializeToString(deterministic=True)
    written(model, tmp_path)
    assert model.SerializeToString(deterministic=True) == before


def test_what_does_not_fit_one_file_is_refused_before_anything_is_written(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sums: \d+ bytes do not fit one file of at most 1000"):
        streamed.write(model, tmp_path, tmp_path / "model.onnx", limit=1000)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(("value", "expected"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (932_000_000, None)])
def test_sizes_are_written_seven_bits_a_byte(value: int, expected: bytes | None) -> None:
    from google.protobuf.internal.decoder import _DecodeVarint  # noqa: PLC0415  # the library's own reader

    found = streamed._varint(value)
    assert expected in (None, found)
    assert _DecodeVarint(found, 0) == (value, len(found))
