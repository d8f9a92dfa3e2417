"""A real tritonserver on exported models, by hand or for the benchmarks: it prints its address and serves until its input ends.

    .venv/bin/python tests/triton/serve.py model_repository [--variant cpu] [--models NAME,NAME]

Linux x86-64 with .venv-triton (python3 setup/environments.py triton). The repository itself is not touched: graphs are linked, configurations rendered.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from triton.server import ENVIRONMENT, TritonServer  # noqa: E402  # after the path to it

from export import configs  # noqa: E402
from kizu_fast.backends.repository import ModelRepository  # noqa: E402


def link(source: Path, target: Path, variant: str, names: tuple[str, ...]) -> None:
    """The models' folders, with the configurations of that variant."""
    repository = ModelRepository(source)
    for name in names or repository.names():
        folder = target / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.onnx").symlink_to(repository.path(name).absolute())
        (folder / "config.pbtxt").write_text(configs.render(repository.spec(name), variant))


def main() -> int:
    """Exit 0 once the input has ended and the server with it, 1 when there is none for this machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("--variant", choices=configs.VARIANTS, default="any")
    parser.add_argument("--models", default="", help="names, a comma list (default: all)")
    options = parser.parse_args()
    if not ENVIRONMENT.exists():
        sys.stderr.write("serve: no .venv-triton; run: python3 setup/environments.py triton\n")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="kizu-triton-"))
    names = tuple(name for name in options.models.split(",") if name)
    link(options.repository, folder / "models", options.variant, names)
    server = TritonServer(folder / "models", folder, "--model-control-mode=explicit", "--load-model=*")
    try:
        server.start()
        print(json.dumps({"grpc": server.url, "http": f"127.0.0.1:{server.http}", "metrics": f"127.0.0.1:{server.metrics}"}), flush=True)
        sys.stdin.read()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
