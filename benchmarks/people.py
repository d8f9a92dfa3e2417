"""Do the vectors of one person, and only they, come together? DBSCAN on the good faces of labelled and other pictures; exit 1 when a bound is missed.

    python -m benchmarks.people --images DIR

DIR holds faces/ with truth.json (file, identity) and other folders of pictures whose faces are unlabelled, such as photos/. The pack is the one
that FACE_MODEL_NAME names, exported before.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from kizu_fast.domain import Faces, Photo
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.settings import load_settings
from kizu_fast.worker.config import engine_config

SIMILARITY, MIN_QUALITY, CROWD = 0.50, 0.4, 15
MIN_F1 = 0.95
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Seen(NamedTuple):
    """The good faces of all pictures."""

    vectors: NDArray[np.float32]  # (N, D)
    names: list[str | None]  # N; None: nobody said who it is


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when both bounds are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    pictures = [path for folder in ("faces", "photos") for path in sorted((options.images / folder).glob("*")) if path.suffix.lower() in SUFFIXES]
    try:
        figures = asyncio.run(measure(engine_config(load_settings(), ("faces",)), options.images / "faces", pictures))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"people: {error}\n")
        return 1
    for name, value in figures.items():
        sys.stdout.write(f"{name:32} {value:.6g}\n")
    return 0 if figures["pairwise_f1"] >= MIN_F1 and figures["clusters of strangers"] == 0 else 1


async def measure(config: EngineConfig, labelled: Path, pictures: Sequence[Path]) -> dict[str, float]:
    """All pictures through the engine; labelled is the folder that truth.json speaks of. Raises ConfigError, OSError."""
    entries = json.loads((labelled / "truth.json").read_text(encoding="utf-8"))["faces"]
    truth = {labelled / entry["file"]: entry["identity"] for entry in entries if entry["identity"]}
    async with open_engine(config) as engine:
        seen = await _look(engine, pictures, truth)
    clusters = DBSCAN(eps=1 - SIMILARITY, min_samples=2, metric="cosine").fit_predict(seen.vectors)
    return {
        "pictures": len(pictures),
        "faces": len(seen.names),
        "labelled": sum(name is not None for name in seen.names),
        **judged(clusters, seen.names),
    }


async def _look(engine: Engine, pictures: Sequence[Path], truth: dict[Path, str]) -> Seen:
    vectors: list[NDArray[np.float32]] = []
    names: list[str | None] = []
    for path in pictures:
        try:
            photo, _ = await engine.decode(path.read_bytes())
        except PermanentError:
            continue
        faces = (await engine.analyse(photo, ["faces"])).faces
        if faces is None or not len(faces):
            continue
        main_face = _main_face(faces, photo, central=path.name.startswith("lfw"))
        for i in np.flatnonzero(faces.quality >= MIN_QUALITY):
            vectors.append(faces.vectors[i])
            names.append(truth.get(path) if i == main_face else None)
    return Seen(np.array(vectors, np.float32), names)


def _main_face(faces: Faces, photo: Photo, *, central: bool) -> int:
    """The labelled one: nearest to the middle, or the largest."""
    boxes = faces.boxes_xyxy
    if central:
        offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([photo.width, photo.height]) / 2
        return int(np.argmin((offset**2).sum(axis=1)))
    return int(np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)))


def judged(clusters: NDArray[np.integer], names: Sequence[str | None]) -> dict[str, float]:
    """Pairwise precision, recall and F1 over labelled faces (-1: in no cluster), and clusters of over CROWD faces without a labelled one."""
    labelled = [(int(cluster), name) for cluster, name in zip(clusters, names, strict=True) if name is not None]
    together = same = both = 0
    for (one, first), (other, second) in combinations(labelled, 2):
        joined = one == other != -1
        together, same, both = together + joined, same + (first == second), both + (joined and first == second)
    precision, recall = both / max(together, 1), both / max(same, 1)
    sizes = Counter(int(cluster) for cluster in clusters if cluster != -1)
    known = {cluster for cluster, _ in labelled}
    return {
        "pairwise_precision": precision,
        "pairwise_recall": recall,
        "pairwise_f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "clusters of strangers": sum(size > CROWD and cluster not in known for cluster, size in sizes.items()),
        "largest cluster": max(sizes.values(), default=0),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
