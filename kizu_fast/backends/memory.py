"""What a process holds resident: its peak, and giving back what loading a model leaves behind."""

import ctypes
import resource
import sys
from pathlib import Path

_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 20  # of malloc.h


def give_back_freed_memory() -> None:
    """Loading leaves up to twice the weights freed but unreturned in glibc's heap: 235 MB for CLIP ViT-B/32."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def return_large_blocks_at_once() -> None:
    """From here on a block of a megabyte or more goes back to the system when it is freed, in the whole process.

    glibc raises its limit to 32 MB with the first large block that is freed, and keeps what lies between others: with a captioner's activations
    beside photos of all sizes that made 3.4 GB of 2.6 (docs/decisions/012-describe.md). A page costs a fault each time, 4 % of a fast run.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def peak_resident_bytes() -> int:
    """The largest resident size of this process since its program began.

    getrusage would do on macOS, where it counts in bytes; on Linux its figure starts at the size of the process that launched this one.
    """
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
