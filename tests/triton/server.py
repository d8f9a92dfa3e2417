"""A real tritonserver without Docker or GPU: started on a repository, killed, stopped, looked into."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from faults.rig import until
from processes import ROOT

HERE = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv-triton"
START_S = 180.0


class TritonServer:
    """One server at a time on ports of its own; start() after a kill() uses the same ones."""

    def __init__(self, repository: Path, folder: Path, *options: str) -> None:
        self.repository, self.folder, self.options = repository, folder, options
        self.http, self.grpc, self.metrics = _free_ports(3)
        self.log = folder / f"triton-{self.grpc}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.grpc}"

    def start(self) -> "TritonServer":
        """Returns once it is ready."""
        site = next((ENVIRONMENT.resolve() / "lib").glob("python*/site-packages"))
        shipped = site / "pytriton" / "tritonserver"
        command = [
            shipped / "bin" / "tritonserver",
            f"--model-repository={self.repository}",
            f"--backend-directory={self._backends(shipped)}",
            f"--cache-directory={shipped / 'caches'}",
            *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
            f"--http-port={self.http}",
            f"--grpc-port={self.grpc}",
            f"--metrics-port={self.metrics}",
            f"--backend-config=python,shm-region-prefix-name={self._prefix}",
            "--disable-auto-complete-config",
            "--allow-gpu-metrics=false",
            "--exit-timeout-secs=5",
            *self.options,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment(site), start_new_session=True
            )
        until(lambda: self._process is None or self._process.poll() is not None or self.is_ready(), f"a ready server, see {self.log}", START_S)
        assert self.is_ready(), self.said()[-20:]
        return self

    def is_ready(self) -> bool:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/ready", timeout=2) as reply:
            return bool(reply.status == 200)
        return False

    def serves(self, model: str) -> bool:
        with (
            suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/models/{model}/ready", timeout=10) as reply,
        ):
            return bool(reply.status == 200)
        return False

    def unload(self, model: str) -> None:
        """As an operator does, over HTTP."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/v2/repository/models/{model}/unload", data=b"{}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            assert reply.status == 200

    def executions(self, model: str) -> tuple[int, int]:
        """(rows, executions) since the model was loaded."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/models/{model}/stats", timeout=30) as reply:
            (stats,) = json.loads(reply.read())["model_stats"]
        return int(stats["inference_count"]), int(stats["execution_count"])

    def said(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def send(self, number: signal.Signals) -> None:
        """To the server alone, not to its models' processes."""
        assert self._process is not None
        self._process.send_signal(number)

    def models(self, name: str = "") -> list[psutil.Process]:
        """The processes of its models, or of one."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        lines = [(child, " ".join(child.cmdline())) for child in children]
        return [child for child, line in lines if "triton_python_backend_stub" in line and f"/{name}" in line]

    def kill(self) -> None:
        """SIGKILL, and what such an end leaves behind: the models' processes and their shared memory."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        for segment in Path("/dev/shm").glob(f"{self._prefix}*"):  # noqa: S108
            segment.unlink(missing_ok=True)

    def stop(self) -> None:
        """The orderly end, then the other one."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        self.kill()

    @property
    def _prefix(self) -> str:
        return f"kizu{self.grpc}"

    def _backends(self, shipped: Path) -> Path:
        """The python backend with the stub of this Python, and our stand-in for onnxruntime."""
        folder = self.folder / "backends"
        if not folder.exists():
            shutil.copytree(shipped / "backends" / "python", folder / "python")
            stub = folder / "python" / "triton_python_backend_stub"
            shutil.copy2(shipped / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / stub.name, stub)
            stub.chmod(0o755)
            shutil.copytree(HERE / "backends" / "onnxruntime", folder / "onnxruntime")
        return folder


def _environment(site: Path) -> dict[str, str]:
    """The stub ignores PYTHONPATH and PYTHONHOME: it looks for python3 on PATH, whose pyvenv.cfg leads to the packages."""
    libraries = [site / "nvidia_pytriton.libs", Path(sys.base_prefix) / "lib"]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PATH": os.pathsep.join([str(ENVIRONMENT.resolve() / "bin"), os.environ.get("PATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
