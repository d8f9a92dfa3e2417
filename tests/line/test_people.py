"""Real faces through worker and database: the stored vectors of one person come together, those of others stay apart."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest
from processes import Line

from benchmarks.people import judged, kept, labelled_face
from kizu_fast.clustering import strict_groups
from kizu_fast.store.portraits import FOLDER

EVERY = 6  # of the photos beside the portraits; all of them: python -m benchmarks.people --images ../shared/images
STORED = """
select p.path, a.width, a.height, f.bbox, f.quality, f.thumbnail_path, v.embedding::real[] as vector
  from face_embeddings f join face_vectors v on v.face_id = f.id join assets a on a.id = f.asset_id join asset_paths p on p.asset_id = a.id
 order by p.path, f.face_index
"""


@pytest.fixture
def people(line: Line, shared: Path, face_models: Path) -> Line:
    """The line over real pictures and real models."""
    real = {"KIZU_BACKEND": "cpu", "KIZU_MODEL_REPOSITORY": str(face_models), "FACE_MODEL_NAME": "buffalo_s", "KIZU_OPERATIONS": "faces"}
    line.env |= {**real, "LIBRARY_ROOT": str(shared / "images")}
    return line


def stored(line: Line) -> list[dict[str, Any]]:
    dsn = line.json("db", "url")["url"]

    async def read() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(STORED)
        finally:
            await connection.close()

    return [dict(row) for row in asyncio.run(read())]


def names_of(rows: list[dict[str, Any]], folder: Path) -> list[str | None]:
    """Whose face each row is, None where nobody said so."""
    entries = json.loads((folder / "truth.json").read_text())["faces"]
    truth = {str(folder / entry["file"]): entry["identity"] for entry in entries if entry["identity"]}
    names: list[str | None] = [None] * len(rows)
    for path in {row["path"].decode() for row in rows} & truth.keys():
        mine = [i for i, row in enumerate(rows) if row["path"].decode() == path]
        boxes = np.array([rows[i]["bbox"] for i in mine])
        size = np.array([rows[mine[0]]["width"], rows[mine[0]]["height"]] * 2)
        corners = np.hstack((boxes[:, :2], boxes[:, :2] + boxes[:, 2:])) * size
        names[mine[labelled_face(corners, *size[:2], central=Path(path).name.startswith("lfw"))]] = truth[path]
    return names


def test_people_come_together_by_what_is_stored(people: Line, shared: Path) -> None:
    portraits = shared / "images" / "faces"
    others = sorted(path for path in (shared / "images" / "photos").iterdir() if path.suffix == ".jpg")[::EVERY]
    people.json("ingest", portraits, *others)
    report = people.drain()
    assert report["failed"] == 0
    rows = stored(people)
    vectors, quality = np.array([row["vector"] for row in rows]), np.array([row["quality"] for row in rows])
    names = names_of(rows, portraits)
    figures = judged(strict_groups(vectors, quality), names)
    known = quality[[name is not None for name in names]]
    print(f"\n{len(rows)} faces in {report['completed']} photos, {len(known)} labelled, their quality p5 {np.quantile(known, 0.05):.2f}; {figures}")
    assert len(known) >= 140
    assert np.quantile(known, 0.05) > 0.6
    assert kept(figures)
    loose = judged(strict_groups(vectors, np.ones(len(vectors)), min_similarity=0.36), names)
    print(f"without the quality gate, at 0.36: {loose['clusters of strangers']} groups of strangers, the largest has {loose['largest cluster']}")
    folder = Path(people.env["KIZU_DATA_DIR"]) / FOLDER
    wanted = {f"{row['thumbnail_path']}-{side}.webp" for row in rows for side in (112, 224)}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.webp")} == wanted
    assert people.json("forget", portraits)["assets"] > 150
    assert len(list(folder.rglob("*.webp"))) == 2 * sum(str(portraits) not in row["path"].decode() for row in rows)
