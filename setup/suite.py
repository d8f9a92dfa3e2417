"""`make test`: the suite in its two environments. Fidelity tests need the original libraries (.venv-export), the rest must run without them.

The two halves run side by side: one mostly waits for processes and servers, the other computes. The second one's words are printed when it has ended.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
RUN_TIME = [".venv-dev/bin/python", "-m", "pytest", "tests", "--ignore=tests/export"]
ORIGINALS = [".venv-export/bin/python", "-m", "pytest", "tests/export"]
NOTHING_SELECTED = 5


def main() -> int:
    """Exit 0 when both halves pass. Further arguments go to pytest, e.g. `-k batcher`."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        second = _start(ORIGINALS, words)
        try:
            _say("== run-time environment\n")
            codes = [_start(RUN_TIME, None).wait(), second.wait()]
        finally:
            second.kill()
        words.seek(0)
        _say("== export environment, against the original libraries\n" + words.read())
    selected = len(sys.argv) > 1
    return 0 if all(code == 0 or (code == NOTHING_SELECTED and selected) for code in codes) else 1


def _start(command: list[str], output: IO[str] | None) -> subprocess.Popen[str]:
    environment = {**os.environ, "KIZU_ALLOW_RANDOM": "true"}
    return subprocess.Popen(
        [*command, *sys.argv[1:]], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT if output else None, text=True
    )


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
