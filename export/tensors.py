"""Tensors of a checkpoint: how they differ from what an architecture expects, and what names them."""

import hashlib
from typing import Any


def tensor_difference(expected: dict[str, list[int]], found: dict[str, list[int]]) -> str | None:
    """The first tensor of another shape, missing or unknown, with counts; None when all agree."""
    shapes = [f"{name} expected {shape}, found {found[name]}" for name, shape in expected.items() if name in found and found[name] != shape]
    missing, unknown = [name for name in expected if name not in found], [name for name in found if name not in expected]
    words = [f"{shapes[0]} ({len(shapes)} such)"] if shapes else []
    words += [f"expected {missing[0]} {expected[missing[0]]} is missing ({len(missing)} such)"] if missing else []
    words += [f"found {unknown[0]} {found[unknown[0]]} is unknown ({len(unknown)} such)"] if unknown else []
    return "; ".join(words) or None


def tensors_digest(model: Any) -> str:
    """sha256 over all tensors by name: what names weights that are no file."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()
