"""Do the vectors of one person, and only they, come together? Strict groups of the good faces of pictures, labelled or not; exit 1 when a bound is missed.

    python -m benchmarks.people --images DIR

DIR holds faces/ with truth.json (file, identity) and other folders of pictures whose faces are unlabelled, such as photos/. The pack is the one
that FACE_MODEL_NAME names, exported before.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kizu_fast.clustering import MIN_QUALITY, strict_groups
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.settings import load_settings
from kizu_fast.worker.config import engine_config

CROWD, MIN_F1 = 15, 0.95
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Seen(NamedTuple):
    """The faces of all pictures."""

    vectors: NDArray[np.float32]  # (N, D)
    quality: NDArray[np.float32]  # (N,)
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
    return 0 if kept(figures) else 1


def kept(figures: Mapping[str, float]) -> bool:
    """Whether both bounds are kept."""
    return figures["pairwise_f1"] >= MIN_F1 and figures["clusters of strangers"] == 0


async def measure(config: EngineConfig, labelled: Path, pictures: Sequence[Path]) -> dict[str, float]:
    """All pictures through the engine; labelled is the folder that truth.json speaks of. Raises ConfigError, OSError."""
    entries = json.loads((labelled / "truth.json").read_text(encoding="utf-8"))["faces"]
    truth = {labelled / entry["file"]: entry["identity"] for entry in entries if entry["identity"]}
    async with open_engine(config) as engine:
        seen = await _look(engine, pictures, truth)
    labelled_quality = seen.quality[[name is not None for name in seen.names]]
    return {
        "pictures": len(pictures),
        "faces": len(seen.names),
        "faces of quality 0.4": int((seen.quality >= MIN_QUALITY).sum()),
        "labelled": len(labelled_quality),
        "labelled quality p5": float(np.quantile(labelled_quality, 0.05)),
        "labelled quality median": float(np.median(labelled_quality)),
        **judged(strict_groups(seen.vectors, seen.quality), seen.names),
    }


async def _look(engine: Engine, pictures: Sequence[Path], truth: dict[Path, str]) -> Seen:
    vectors: list[NDArray[np.float32]] = []
    quality: list[float] = []
    names: list[str | None] = []
    for path in pictures:
        try:
            photo, _ = await engine.decode(path.read_bytes())
        except PermanentError:
            continue
        faces = (await engine.analyse(photo, ["faces"])).faces
        if faces is None or not len(faces):
            continue
        main_face = labelled_face(faces.boxes_xyxy, photo.width, photo.height, central=path.name.startswith("lfw"))
        for i in range(len(faces)):
            vectors.append(faces.vectors[i])
            quality.append(float(faces.quality[i]))
            names.append(truth.get(path) if i == main_face else None)
    return Seen(np.array(vectors, np.float32), np.array(quality, np.float32), names)


def labelled_face(boxes: NDArray[np.floating], width: float, height: float, *, central: bool) -> int:
    """Which of (N, 4) boxes xyxy the label of a picture means: the one nearest to the middle, or the largest."""
    if central:
        offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([width, height]) / 2
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
