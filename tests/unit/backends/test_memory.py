"""The peak of a process is its own: neither that of the process that launched it, nor what it holds now."""

import subprocess
import sys

from kizu_fast.backends.memory import peak_resident_bytes

HELD = 400_000_000
CHILD = """
from kizu_fast.backends.memory import peak_resident_bytes
print(peak_resident_bytes())
held = b"x" * 200_000_000
del held
print(peak_resident_bytes())
"""


def test_a_process_launched_by_a_large_one_starts_small() -> None:
    held = b"x" * HELD
    assert peak_resident_bytes() > HELD
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    small, larger = (int(line) for line in done.stdout.split())
    assert len(held) == HELD
    assert small < HELD / 2
    assert larger > small + 150_000_000
