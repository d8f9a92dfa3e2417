"""Every committed configuration in a real server, before graphs of the same tensors: what it says loads, warms up and answers."""

import shutil
from pathlib import Path

import graphs
import pytest
from triton.conftest import EXPLICIT
from triton.server import TritonServer

from export import configs

pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("_installed")]


@pytest.mark.parametrize("variant", ["any", "gpu"])  # `cpu` is what benchmarks/triton.py starts, `tensorrt` wants TensorRT's own backend
def test_a_server_loads_every_committed_configuration(variant: str, tmp_path: Path) -> None:
    """The server of the tests has no GPU: it notes the accelerator of `gpu` and goes on without."""
    models = tmp_path / "models"
    for spec in configs.default_specs():
        (models / spec.name / "1").mkdir(parents=True)
        (models / spec.name / "1" / "model.onnx").write_bytes(graphs.stand_in(spec))
        shutil.copy(configs.COMMITTED / variant / spec.name / "config.pbtxt", models / spec.name)
    server = TritonServer(models, tmp_path, *EXPLICIT).start()
    try:
        assert [spec.name for spec in configs.default_specs() if not server.serves(spec.name)] == []
    finally:
        server.stop()
