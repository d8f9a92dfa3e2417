"""Makes the project's Python environments: one command, safe to interrupt and to run twice, shared between clones.

    python3 setup/environments.py run [dev] [export] [triton]      what `make setup`, `make run` and `make test` call
    python3 setup/environments.py lock run                         how a lock is made anew

The packages of a lock lie once per machine, in $KIZU_ENVIRONMENTS (default ~/.cache/kizu_fast/environments) under the hash of that
lock. A clone's .venv, .venv-dev and .venv-export are thin: they point there and at the clone. .venv-triton, a real tritonserver for the
tests, is a link: nothing of the clone is in it, since the server's Python must have NumPy 1. Needs Python >= 3.11 and nothing else.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FOLDERS = {"run": ".venv", "dev": ".venv-dev", "export": ".venv-export", "triton": ".venv-triton"}
BENEATH = {"dev": "run"}  # dev holds only what run does not
LINKED = {"triton"}  # used as it is, without the clone in it
FREE_GB = {"run": 1.5, "dev": 2.0, "export": 10.0, "triton": 1.0}  # installed size and pip's unpacking
EXTRAS = {"run": "cpu,openvino,embedded,triton", "dev": "cpu,openvino,embedded,triton,gpu-decode,dev", "export": "cpu,embedded,export"}
STAMP = "complete"
# Parts of packages that no command of ours uses, below site-packages: 77 of openvino's 181 MB are for other devices and file formats.
_FORMATS = ("gguf", "jax", "paddle", "pytorch", "tensorflow", "tensorflow_lite")
UNUSED = (
    "openvino/libs/libopenvino_intel_[gn]pu_plugin.so",
    "openvino/libs/cache.json",
    "openvino/frontend/[jpt]*/*",
    *(f"openvino/libs/libopenvino_{name}_frontend.so*" for name in _FORMATS),
)
NEVER = "openvino-telemetry"  # sends an event at every import of openvino, which does without it; nothing may leave the machine


def main(arguments: list[str]) -> int:  # noqa: PLR0911  # one return per way to end
    """Entry point. Exit 0 when every environment named is ready, 1 with one line that says why not, 2 on wrong usage."""
    if sys.version_info < (3, 11):  # noqa: UP036  # the one file that an older Python may be asked to run
        return _fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}. Run: make PYTHON=python3.11 setup")
    if arguments[:1] == ["lock"] and len(arguments[1:]) == 1 and arguments[1] in EXTRAS:
        return _lock(arguments[1])
    if not arguments or not set(arguments) <= set(FOLDERS):
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        _install_together(arguments)
        for name in arguments:
            make(name)
    except subprocess.CalledProcessError as error:
        return _fail(
            f"{' '.join(map(str, error.cmd[:6]))} ... ended with {error.returncode}; what was installed is kept, the same command goes on from there"
        )
    except KeyboardInterrupt:
        _fail("interrupted; what was installed is kept, the same command goes on from there")
        return 130
    except OSError as error:
        return _fail(f"{error}; what was installed is kept, the same command goes on from there")
    return 0


def _install_together(names: Sequence[str]) -> None:
    """The shared packages of all of them at once: pip computes on one core. Raises OSError or CalledProcessError."""
    bases = sorted({base for name in names if runs_here(name) for base in (name, BENEATH.get(name, name))})
    with ThreadPoolExecutor(len(bases) or 1) as together:
        list(together.map(shared, bases))


def make(name: str) -> None:
    """Ready the shared packages of one lock and the clone's thin environment over them. Raises OSError or CalledProcessError."""
    if name in LINKED:
        _link(name)
        return
    packages: list[Path] = [shared(name)] + ([shared(BENEATH[name])] if name in BENEATH else [])
    for base in packages:
        if not base.exists():
            raise OSError(f"{base} is missing")
    thin = ROOT / FOLDERS[name]
    want = "\n".join(str(base) for base in [*packages, ROOT, HERE.parent / "pyproject.toml"]) + "\n" + _digest(ROOT / "pyproject.toml")
    stamp = thin / STAMP
    if stamp.exists() and stamp.read_text() == want:
        return
    shutil.rmtree(thin, ignore_errors=True)
    _say(f"linking {thin.name} to {packages[0]}")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", thin], check=True)
    lines = [f"import site; site.addsitedir({str(_site(base))!r})\n" for base in packages]
    (_site(thin) / "kizu_fast_packages.pth").write_text("".join(lines))
    pip: list[str | Path] = [packages[-1] / "bin" / "python", "-m", "pip", "--python", thin / "bin" / "python", "install"]
    subprocess.run([*pip, "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT], check=True)
    stamp.write_text(want)


def _link(name: str) -> None:
    """An environment without the clone: a link to the shared one. Left out with a word where its packages do not exist."""
    if not runs_here(name):
        _say(f"{FOLDERS[name]} is left out: it needs Linux on x86-64 and Python 3.11 or 3.12; tests that use it are skipped")
        return
    thin, base = ROOT / FOLDERS[name], shared(name)
    if not thin.is_symlink() or thin.resolve() != base:
        thin.unlink(missing_ok=True)
        thin.symlink_to(base)


def runs_here(name: str) -> bool:
    """Whether the packages of that lock exist for this machine. tritonserver's wheel and NumPy 1: one platform, two Pythons."""
    return name not in LINKED or (sys.platform == "linux" and os.uname().machine == "x86_64" and (3, 11) <= sys.version_info[:2] <= (3, 12))


def shared(name: str) -> Path:
    """The folder that holds the packages of one lock, installed on the first call of this machine."""
    lock = HERE / f"{name}.lock"
    home = Path(
        os.environ.get("KIZU_ENVIRONMENTS") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kizu_fast" / "environments"
    )
    base = home / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}-{_digest(lock)[:16]}"
    if (base / STAMP).exists():
        return base
    home.mkdir(parents=True, exist_ok=True)
    with _alone(base.with_suffix(".lock"), base.name):
        if not (base / STAMP).exists():
            _install(name, lock, base)
    return base


def _install(name: str, lock: Path, base: Path) -> None:
    free = shutil.disk_usage(base.parent).free / 1e9
    if free < FREE_GB[name] and not base.exists():
        raise OSError(
            f"{FREE_GB[name]:.1f} GB are needed under {base.parent}, {free:.1f} GB are free; set KIZU_ENVIRONMENTS to a folder on a larger disk"
        )
    count = sum(1 for line in lock.read_text().splitlines() if "==" in line)
    _say(f"installing {count} packages of {lock.name} into {base} (once per machine{', about 7 GB' if name == 'export' else ''})")
    if not (base / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
    _pip(base, lock)
    for pattern in UNUSED:
        for path in _site(base).glob(pattern):
            if path.is_file():
                path.unlink()
    (base / STAMP).write_text(_digest(lock))


def _pip(base: Path, lock: Path) -> None:
    command: list[str | Path] = [base / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", lock]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        sys.stderr.write("\n".join(errors[-5:]) + "\n")
        raise subprocess.CalledProcessError(done.returncode, command)


@contextlib.contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Hold the installation lock: two clones that start at once install once. The kernel drops it with the process."""
    import fcntl  # noqa: PLC0415  # not on Windows, where set-up is not verified

    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another process installs {name}, waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _lock(name: str) -> int:
    """Resolve the extras of pyproject.toml afresh and write NAME.lock."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        beneath: list[str | Path] = ["-c", HERE / f"{BENEATH[name]}.lock"] if name in BENEATH else []
        subprocess.run([python, "-m", "pip", "install", "--quiet", *beneath, "hatchling", "editables", f"{ROOT}[{EXTRAS[name]}]"], check=True)
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze", "--exclude", "kizu-fast", "--exclude", NEVER], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    below = set((HERE / f"{BENEATH[name]}.lock").read_text().splitlines()) if name in BENEATH else set()
    lock = HERE / f"{name}.lock"
    head = lock.read_text().splitlines()[0]
    lock.write_text("\n".join([head, *(line for line in map(_marked, frozen) if line not in below)]) + "\n")
    return 0


def _marked(line: str) -> str:
    """A frozen line with the marker of a package that exists on some platforms only."""
    package = line.split("==", maxsplit=1)[0]
    if package == "uvloop":
        return f'{line} ; sys_platform != "win32"'
    if package.startswith(("nvidia", "cuda")) or package == "triton":
        return f'{line} ; sys_platform == "linux" and platform_machine == "x86_64"'
    return line


def _site(base: Path) -> Path:
    return base / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _say(text: str) -> None:
    sys.stderr.write(f"setup: {text}\n")
    sys.stderr.flush()


def _fail(text: str) -> int:
    sys.stderr.write(f"setup: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
