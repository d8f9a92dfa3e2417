"""TensorRT plans: what a plan was built for, and whether this machine is that. Pure comparison; nothing here needs a GPU.

A plan runs on the GPU model and with the TensorRT version that built it, and answers wrongly or not at all elsewhere: whoever starts
a server on plans asks refusal() first.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kizu_fast.errors import ConfigError

PLAN = "1/model.plan"
MANIFEST = "manifest.json"
_QUERY_S = 20


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan is tied to."""

    gpu: str  # e.g. NVIDIA L4
    compute_capability: str  # e.g. 8.9
    tensorrt: str  # e.g. 10.13.3
    driver: str  # for the record: a newer driver runs older plans


def plans_of(repository: Path) -> Path:
    """Plans lie in a repository of their own, under the models' own names: what serves it answers as the other does."""
    return repository.with_name(f"{repository.name}-plans")


def rebuild_command(model: str, precision: str) -> str:
    """What a user types to get the plan built for the machine at hand. model: as --models takes it."""
    return f"python -m export --target tensorrt --precision {precision} --models {model}"


def describe_gpu(line: str) -> tuple[str, str, str]:
    """(name, compute capability, driver) out of a line of nvidia-smi's csv. Raises ConfigError for a line of another form."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004  # the three columns that were asked for
        raise ConfigError(f"nvidia-smi answers {line!r}, expected name, compute capability and driver; update NVIDIA's driver")
    return parts[0], parts[1], parts[2]


def gpu() -> tuple[str, str, str]:
    """(name, compute capability, driver) of the first GPU. Blocks up to 20 s. Raises ConfigError when there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise ConfigError("no NVIDIA GPU here: nvidia-smi is not installed; build and run plans on the machine that has the GPU")
    command = [tool, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_QUERY_S)  # noqa: S603  # no word of it comes from outside
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"nvidia-smi does not answer: {error}; check NVIDIA's driver") from error
    if done.returncode or not done.stdout.strip():
        raise ConfigError(f"no NVIDIA GPU here: nvidia-smi says {' '.join((done.stderr or done.stdout).split())[:200]!r}")
    return describe_gpu(done.stdout.splitlines()[0])


def differences(built_for: Machine, here: Machine) -> list[str]:
    """What of this machine the plan was not built for, in words; empty when it runs here. The driver may differ."""
    labels = {"gpu": "GPU", "compute_capability": "compute capability", "tensorrt": "TensorRT"}
    there, now = asdict(built_for), asdict(here)
    return [f"{label} {there[key]}, here is {now[key]}" for key, label in labels.items() if there[key] != now[key]]


def read(folder: Path) -> Mapping[str, Any]:
    """The manifest of a plan. Raises ConfigError when it is missing or not whole."""
    path = folder / MANIFEST
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        Machine(**written["machine"])
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; build the plan anew: {rebuild_command(folder.name, 'fp16')}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not whole: {error!r}; build the plan anew: {rebuild_command(folder.name, 'fp16')}") from error
    return dict(written)


def refusal(folder: Path, here: Machine, onnx_sha256: str | None) -> str | None:
    """Why a plan must not serve on this machine, with the command that rebuilds it; None when it may. Raises ConfigError for a broken manifest.

    onnx_sha256: of the graph that is installed now, None when it is gone.
    """
    plan = read(folder)
    found = differences(Machine(**plan["machine"]), here)
    if not (folder / PLAN).is_file():
        found.append(f"{PLAN} is missing")
    if onnx_sha256 is not None and plan.get("onnx_sha256") != onnx_sha256:
        found.append("the model was exported again since")
    if not found:
        return None
    command = rebuild_command(folder.name, str(plan.get("precision", "fp16")))
    return f"plan {folder.name} was built for another state: {'; '.join(found)}; rebuild it: {command}"
