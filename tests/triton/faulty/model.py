"""A model of Triton's Python backend that fails on command, for the tests of faults.

Its mood stands in the file MODEL/mood: ok, slow (then it makes the file MODEL/busy when it begins), nan, shape, raise, or poison: then only rows of the
colours below are answered wrongly, each in its way. Outputs otherwise: unit vectors made of the row's bytes, the same for the same row.

Runs in the server's own Python: NumPy 1, and nothing of this project.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

POISON = {(255, 0, 255): "raise", (0, 255, 255): "nan", (255, 255, 0): "shape"}
SLOW_S = 0.3


class TritonPythonModel:
    """One input of pixels, one output of features."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Remember names, the output's size, and where the mood stands."""
        config = json.loads(args["model_config"])
        self.input, self.output = config["input"][0]["name"], config["output"][0]["name"]
        self.dim = int(config["output"][0]["dims"][0])
        self.mood_file = Path(args["model_repository"]) / "mood"

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One batch of everything that Triton joined."""
        mood = self.mood_file.read_text().strip() if self.mood_file.exists() else "ok"
        arrays = [pb_utils.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        rows = np.concatenate(arrays)
        kinds = [POISON.get(tuple(row[0, 0].tolist()), "ok") if mood == "poison" else mood for row in rows]
        if mood == "slow":
            (self.mood_file.parent / "busy").touch()
            threading.Event().wait(SLOW_S)
        if "raise" in kinds:
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError("the model fails over a row")) for _ in requests]
        vectors = np.stack([self.vector(row) for row in rows])
        vectors[[kind == "nan" for kind in kinds]] = np.nan
        if "shape" in kinds:
            vectors = vectors[:, : self.dim - 1]
        stops = np.cumsum([len(array) for array in arrays])
        parts = np.split(vectors, stops[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor(self.output, np.ascontiguousarray(part))]) for part in parts]

    def vector(self, row: Any) -> Any:
        """A unit vector, float32 (dim,)."""
        flat = np.resize(row.astype(np.float32).ravel(), self.dim) + 1
        return (flat / np.linalg.norm(flat)).astype(np.float32)
