"""The peak of a process is its own: neither that of the process that launched it, nor what it holds now."""

import subprocess
import sys

import pytest

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


BLOCKS = """
import sys
import psutil
from kizu_fast.backends.memory import return_large_blocks_at_once
if sys.argv[1] == "at once":
    return_large_blocks_at_once()
first = b"x" * 20_000_000
del first  # glibc now takes blocks up to this size from its heap
blocks = [b"x" * 10_000_000 for _ in range(30)]
pinned = blocks[-1]
del blocks
print(psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_freed_blocks_below_one_in_use_go_back_to_the_system() -> None:
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", BLOCKS, how], capture_output=True, text=True, check=True).stdout) for how in ("as ever", "at once")
    )
    assert kept - returned > 200_000_000
