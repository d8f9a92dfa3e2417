"""The worker over Triton against the worker on its own: a hundred photos, every operation there is, the same rows."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faults.rig import Rig, new_folder, opened
from processes import paint
from triton.server import TritonServer

from kizu_fast.backends.repository import ModelRepository

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(2000)]

COUNT, PAINTED = 100, 24  # real photos where they are at hand; painted ones are all alike
PATIENCE_S = 900.0
LEAST = 0.27  # a detection nearer to the threshold of 0.25 may fall on either side of it


@pytest.fixture(scope="module")
def photos(shared_images: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photos where they are at hand, painted ones elsewhere."""
    folder = tmp_path_factory.mktemp("hundred")
    found = sorted((shared_images / "photos").glob("*.jpg")) if shared_images else []
    found = [path for path in found if path.stat().st_size < 1_500_000][:COUNT]
    for path in found:
        (folder / path.name).write_bytes(path.read_bytes())
    for seed in range(0 if found else PAINTED):
        _written(paint(folder / f"{seed:04}.png", seed, (640, 480)), f"ROLL {seed:02} FRAME")
    assert not found or len(found) == COUNT
    return folder


def _written(path: Path, words: str) -> None:
    pixels = cv2.imread(str(path))
    cv2.rectangle(pixels, (30, 180), (610, 300), (255, 255, 255), cv2.FILLED)
    cv2.putText(pixels, words, (60, 260), cv2.FONT_HERSHEY_DUPLEX, 1.6, (20, 20, 20), 2, cv2.LINE_AA)
    cv2.imwrite(str(path), pixels)


@pytest.fixture(scope="module")
def rigs(photos: Path, served: Path, server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Rig]]:
    """The same photos in two libraries, processed by the one and by the other."""
    faces = "face-buffalo-s-detector" in ModelRepository(served).names()
    env = {
        "KIZU_MODEL_REPOSITORY": str(served),
        "CLIP_PRETRAINED": "random",
        "YOLO_SIZE": "n",
        "FACE_MODEL_NAME": "buffalo_s",
        "KIZU_OPERATIONS": "embedding,objects,ocr" + ",faces" * faces,
        "TRITON_URLS": server.url,
    }
    with ExitStack() as stack:
        done = {}
        for backend in ("cpu", "triton"):
            folder = new_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            rig = stack.enter_context(opened(folder, None, photos, tmp_path_factory.mktemp(backend)))
            rig.line.env.update(env, KIZU_BACKEND=backend)
            rig.keep_server()
            rig.ingest(photos, len(list(photos.iterdir())))
            worker = rig.worker("--drain")
            assert worker.ended(PATIENCE_S) == 0, worker.said()[-5:]
            assert worker.report()["failed"] == 0
            done[backend] = rig
        yield done


def both(rigs: dict[str, Rig], sql: str) -> tuple[Sequence[Any], Sequence[Any]]:
    one, other = rigs["cpu"].rows(sql), rigs["triton"].rows(sql)
    return one, other


def test_vectors_are_those_of_the_cpu(rigs: dict[str, Rig]) -> None:
    sql = "select p.path, e.embedding::text as vector from image_embeddings e join asset_paths p on p.asset_id = e.asset_id order by p.path"
    mine, theirs = both(rigs, sql)
    assert [row["path"] for row in mine] == [row["path"] for row in theirs]
    assert mine
    assert min(_cosine(a["vector"], b["vector"]) for a, b in zip(mine, theirs, strict=True)) >= 0.9999


def test_objects_are_those_of_the_cpu(rigs: dict[str, Rig], trained_weights: Path | None) -> None:
    sql = (
        "select p.path, o.label, array[o.bbox[1] * a.width, o.bbox[2] * a.height, o.bbox[3] * a.width, o.bbox[4] * a.height] as box"
        " from detected_objects o join asset_paths p on p.asset_id = o.asset_id join assets a on a.id = o.asset_id"
        f" where o.confidence >= {LEAST} order by p.path, o.label"
    )
    mine, theirs = both(rigs, sql)
    assert mine or not trained_weights  # an untrained detector sees nothing
    assert [(row["path"], row["label"]) for row in mine] == [(row["path"], row["label"]) for row in theirs]
    for row in mine:
        alike = [other["box"] for other in theirs if (other["path"], other["label"]) == (row["path"], row["label"])]
        assert min(np.abs(np.subtract(box, row["box"])).max() for box in alike) <= 1.0, row


def test_faces_are_those_of_the_cpu(rigs: dict[str, Rig]) -> None:
    sql = (
        "select p.path, f.face_index, v.embedding::text as vector from face_embeddings f join face_vectors v on v.face_id = f.id"
        " join asset_paths p on p.asset_id = f.asset_id order by p.path, f.face_index"
    )
    mine, theirs = both(rigs, sql)
    assert [(row["path"], row["face_index"]) for row in mine] == [(row["path"], row["face_index"]) for row in theirs]
    assert all(_cosine(a["vector"], b["vector"]) >= 0.9999 for a, b in zip(mine, theirs, strict=True))


def test_texts_are_those_of_the_cpu(rigs: dict[str, Rig]) -> None:
    sql = "select p.path, t.lines from ocr_texts t join asset_paths p on p.asset_id = t.asset_id order by p.path"
    mine, theirs = both(rigs, sql)
    assert sum(len(json.loads(row["lines"])) for row in mine) > 0
    assert [words(row) for row in mine] == [words(row) for row in theirs]


def test_no_photo_took_a_second_attempt(rigs: dict[str, Rig]) -> None:
    for rig in rigs.values():
        assert rig.value("select max(attempts) from processing_queue") == 1


def test_batches_were_made(rigs: dict[str, Rig], server: TritonServer) -> None:
    """Executions over inferences as the server counts them, warm-up and proofs included."""
    rows, executions = server.executions("clip-vit-b-32-random-image")
    assert rows >= rigs["triton"].value("select count(*) from image_embeddings")
    assert executions <= rows / 3


def test_the_doctor_says_what_serves(rigs: dict[str, Rig], server: TritonServer) -> None:
    rig = rigs["triton"]
    checks = {check["name"]: check for check in rig.line.json("doctor", "--backend", "triton")["checks"]}
    image = checks["model clip-vit-b-32-random-image"]
    assert image["ok"]
    assert image["detail"] == f"Triton 2.51.0: onnxruntime on {server.url}, fp32"


def test_the_doctor_says_that_nobody_serves(rigs: dict[str, Rig]) -> None:
    done = rigs["triton"].line.run("doctor", "--backend", "triton", "--json", check=False, TRITON_URLS="127.0.0.1:9")
    assert done.returncode == 1
    assert "no Triton server answers at 127.0.0.1:9" in done.stderr


def words(row: Any) -> tuple[bytes, list[str]]:
    """A photo and the texts of its lines, in reading order."""
    return row["path"], [line["text"] for line in json.loads(row["lines"])]


def _cosine(one: str, other: str) -> float:
    a, b = (np.array(text.strip("[]").split(","), np.float64) for text in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
