"""`make test`: the suite in parts, several at a time. Fidelity tests need the original libraries (.venv-export), the rest must run without them.

Each part is a pytest of its own: one mostly waits for processes and servers while another computes. Every line that it prints carries its name.
The environments are made ready first; parts that do without the original libraries begin while those are still being installed.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AT_A_TIME = max(os.cpu_count() or 1, 2) + 1  # one more than cores: some part always waits for something
NOTHING_SELECTED, SET_UP_FAILED = 5, 1
OWN, ORIGINALS = ("run", "dev"), ("export", "triton")  # environments: of the project itself, of the original libraries and of a server


@dataclass(frozen=True)
class Part:
    """Tests that share a process and what its fixtures make."""

    name: str
    environment: str
    folders: tuple[str, ...]
    originals: bool = True  # False: needs the project's own environments alone


# In the order of their start: the long ones first, and the last ones short, so that all places are empty at about the same time.
PARTS = (
    Part("originals", ".venv-export", ("tests/export",)),
    Part("triton", ".venv-dev", ("tests/triton",)),
    Part("faults", ".venv-dev", ("tests/faults",)),
    Part("line", ".venv-dev", ("tests/line",)),
    Part("models", ".venv-dev", ("tests/onnx", "tests/postgres")),
    Part("units", ".venv-dev", ("tests/unit",), originals=False),
)


async def run(arguments: list[str], parts: Sequence[Part] = PARTS, root: Path = ROOT) -> int:
    """Exit 0 when all parts pass. Arguments go to pytest, e.g. `-k batcher`."""
    places = asyncio.Semaphore(AT_A_TIME)
    own, originals = (asyncio.create_task(_set_up(root, names)) for names in (OWN, ORIGINALS))

    async def in_turn(part: Part) -> int:
        if await own or (part.originals and await originals):
            return SET_UP_FAILED
        async with places:
            return await _run(part, root, arguments)

    codes = await asyncio.gather(*(in_turn(part) for part in parts))
    fine = (0, NOTHING_SELECTED) if arguments else (0,)
    failed = [part.name for part, code in zip(parts, codes, strict=True) if code not in fine]
    _say(f"== failed: {', '.join(failed)}" if failed else "== every part passed")
    return 1 if failed else 0


async def _set_up(root: Path, names: Sequence[str]) -> int:
    """Exit code of what makes these environments ready; it says itself what is wrong."""
    return await _ended(await asyncio.create_subprocess_exec(sys.executable, "setup/environments.py", *names, cwd=root))


async def _run(part: Part, root: Path, arguments: list[str]) -> int:
    environment = {**os.environ, "KIZU_ALLOW_RANDOM": "true", "OMP_NUM_THREADS": "1"}  # threads of one part that wait for a core spin away another's
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes are started, each would compile the same modules
    command = (f"{part.environment}/bin/python", "-m", "pytest", *part.folders, *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 24
    )
    return await _ended(process, part.name)


async def _ended(process: asyncio.subprocess.Process, name: str = "") -> int:
    """Its exit code, once the lines that it sends here are printed under that name. Ends it when this is cancelled (Ctrl-C)."""
    try:
        if process.stdout:
            async for line in process.stdout:
                _say(f"{name:9} | {line.decode(errors='replace').rstrip()}")
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
