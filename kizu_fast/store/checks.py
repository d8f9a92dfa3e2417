"""What is refused before anything is sent to a table, and how the photo is named then. Pure."""

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Job, PhotoFacts
from kizu_fast.errors import PermanentError
from kizu_fast.store import storable

UNIT_TOLERANCE = 1e-3


def check_unit(vector: NDArray[np.float32], what: str) -> None:
    """Raises PermanentError unless vector is finite and of length 1: cosine distance of anything else is silently wrong."""
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise PermanentError(f"{what} is not a vector of finite numbers")
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if abs(norm - 1) >= UNIT_TOLERANCE:
        raise PermanentError(f"{what} has length {norm:.4f} instead of 1")


def frame_of(job: Job, facts: PhotoFacts | None, what: str, *, count: int) -> tuple[int, int]:
    """Width and height of the upright picture; (1, 1) if nothing has to be placed in it. Raises PermanentError when count things have no frame."""
    width, height = (job.asset.width or 0, job.asset.height or 0) if facts is None else (facts.width, facts.height)
    if count and (width <= 0 or height <= 0):
        raise PermanentError(f"the size of {name_of(job)} is unknown, its {what} have no frame")
    return max(width, 1), max(height, 1)


def check_finite(job: Job, what: str, *arrays: NDArray[np.floating]) -> None:
    """Raises PermanentError for numbers that are not finite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise PermanentError(f"the {what} of {name_of(job)} hold numbers that are not finite")


def name_of(job: Job) -> str:
    """The photo's file, or the asset when it has none, for messages."""
    return shown(job.asset.path) if job.asset.path else f"asset {job.asset.id}"


def shown(path: bytes) -> str:
    """A path as text that every table and terminal takes; bytes that are no UTF-8 as backslash escapes."""
    return storable(path.decode("utf-8", "backslashreplace"))
