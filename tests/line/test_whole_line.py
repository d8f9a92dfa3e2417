"""Photos in, searchable rows out, through the commands of the README."""

import asyncio
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import asyncpg
import numpy as np
import pytest
from processes import Line

Painter = Callable[..., Path]


def taken(line: Line) -> tuple[int, int, int, list[object]]:
    """registered, known, queued, rejected of an ingest of the whole library."""
    said = line.json("ingest", line.library)
    return said["registered"], said["known"], said["queued"], said["rejected"]


def test_photos_go_in_and_rows_come_out(line: Line) -> None:
    assert taken(line) == (3, 0, 3, [])
    report = line.drain()
    assert (report["completed"], report["failed"], report["retried"]) == (3, 0, 0)
    assert {"fetch", "decode", "store"} <= set(report["stages"])
    status = line.json("status")
    assert status["queue"] == {"pending": 0, "processing": 0, "completed": 3, "failed": 0}
    assert (status["assets"], status["embeddings"]) == (3, 3)


def test_show_has_every_key_and_boxes_inside_the_picture(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    shown = line.json("show", line.library / "1.jpg", "--vectors")
    assert set(shown) == {
        "asset_id",
        "path",
        "width",
        "height",
        "orientation",
        "taken_at",
        "gps",
        "place",
        "job",
        "embedding",
        "objects",
        "faces",
        "texts",
        "caption",
    }
    assert (shown["width"], shown["height"], shown["orientation"]) == (320, 240, 1)
    assert shown["job"] == {"status": "completed", "attempts": 1, "error": None}
    assert abs(np.linalg.norm(shown["embedding"]["vector"]) - 1) < 1e-2
    assert shown["embedding"]["dim"] == len(shown["embedding"]["vector"])
    for found in shown["objects"]:
        x0, y0, x1, y1 = found["box"]
        assert 0 <= x0 < x1 <= 320
        assert 0 <= y0 < y1 <= 240
    assert line.json("show", shown["asset_id"])["path"] == shown["path"]


def test_a_search_answers_with_ranked_photos(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    answer = line.json("search", "a dog on a beach", "--limit", 2)
    understood = answer["understood"]
    assert (understood["semantic"], understood["objects"], understood["text"]) == ("a dog on a beach", ["dog"], [])
    assert understood["words"] == ["dog", "beach"]
    assert "embedding" in understood["used"]
    assert len(answer["results"]) == 2
    assert set(answer["results"][0]) == {"asset_id", "path", "score", "taken_at", "objects", "faces", "text"}
    assert all(result["text"] is None for result in answer["results"])
    assert all(face == {"cluster": None, "name": None} for result in answer["results"] for face in result["faces"])


def test_a_photo_is_found_first_by_the_words_that_stand_in_it(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "embedding,objects")
    line.drain()
    asset = line.json("show", line.library / "2.jpg")["asset_id"]
    written = [{"text": "INVOICE 4711", "confidence": 0.9, "lang": "ch", "box": [0.25, 0.5, 0.5, 0.5, 0.5, 0.75, 0.25, 0.75]}]
    owner = "00000000-0000-0000-0000-000000000001"
    row = (uuid.UUID(asset), "ppocr", uuid.UUID(owner), "INVOICE 4711", json.dumps(written))

    async def read(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("insert into ocr_texts (asset_id, model, user_id, full_text, lines) values ($1, $2, $3, $4, $5)", *row)
        await connection.close()

    asyncio.run(read(line.json("db", "url")["url"]))
    shown = line.json("show", asset)
    assert shown["texts"] == [{"text": "INVOICE 4711", "score": 0.9, "polygon": [[80, 120], [160, 120], [160, 180], [80, 180]]}]
    assert "'INVOICE 4711' 0.90 at 80,120" in line.run("show", asset).stdout
    answer = line.json("search", "Invoice 4711")
    assert (answer["results"][0]["asset_id"], answer["results"][0]["text"]) == (asset, "INVOICE 4711")
    assert [result["text"] for result in answer["results"][1:]] == [None, None]
    assert {"embedding", "text"} <= set(answer["understood"]["used"])
    assert [result["asset_id"] for result in line.json("search", '"invoice 4711"')["results"]] == [asset]
    assert "INVOICE 4711" in line.run("search", "Invoice 4711").stdout
    assert line.json("status")["texts"] == 1
    gone = line.json("forget", line.library / "2.jpg")
    assert (gone["texts"], gone["captions"]) == (1, 0)
    assert line.json("search", '"invoice 4711"')["results"] == []


def test_a_search_before_any_photo_finds_nothing_and_is_no_error(line: Line) -> None:
    assert line.json("search", "sunset")["results"] == []


def test_the_same_folder_again_is_no_second_asset_and_no_second_job(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    assert taken(line) == (0, 3, 0, [])
    assert line.drain()["completed"] == 0


def test_byte_identical_files_are_one_asset_found_by_any_of_their_paths(line: Line) -> None:
    (line.library / "copy.jpg").write_bytes((line.library / "0.jpg").read_bytes())
    assert line.json("ingest", line.library)["registered"] == 3
    line.drain()
    shown = {line.json("show", line.library / name)["asset_id"] for name in ("0.jpg", "copy.jpg")}
    assert len(shown) == 1


def test_a_moved_file_keeps_its_asset(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    before = line.json("show", line.library / "0.jpg")["asset_id"]
    (line.library / "sub").mkdir()
    (line.library / "0.jpg").rename(line.library / "sub" / "moved.jpg")
    assert taken(line) == (0, 3, 0, [])
    after = line.json("show", line.library / "sub" / "moved.jpg")
    assert after["asset_id"] == before
    assert after["path"] == str(line.library / "sub" / "moved.jpg")


def test_a_changed_file_is_queued_again_and_keeps_its_asset(line: Line, painter: Painter) -> None:
    line.json("ingest", line.library)
    line.drain()
    before = line.json("show", line.library / "0.jpg", "--vectors")
    painter(line.library / "0.jpg", 99, (200, 300))
    assert line.json("ingest", line.library)["queued"] == 1
    assert line.drain()["completed"] == 1
    after = line.json("show", line.library / "0.jpg", "--vectors")
    assert (after["asset_id"], after["width"], after["height"]) == (before["asset_id"], 200, 300)
    assert after["embedding"]["vector"] != before["embedding"]["vector"]


def test_a_file_that_changed_between_ingest_and_decode_is_taken_as_it_is_now(line: Line, painter: Painter) -> None:
    line.json("ingest", line.library)
    painter(line.library / "0.jpg", 98, (100, 50))
    report = line.drain()
    assert (report["completed"], report["failed"]) == (3, 0)
    shown = line.json("show", line.library / "0.jpg")
    assert (shown["width"], shown["height"]) == (100, 50)
    assert line.json("ingest", line.library)["queued"] == 0


def test_a_broken_file_fails_alone_with_one_line_that_names_it(line: Line) -> None:
    (line.library / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    os.utime(line.library / "broken.jpg", (1_600_000_000, 1_600_000_000))
    line.json("ingest", line.library)
    report = line.drain()
    assert (report["completed"], report["failed"]) == (3, 1)
    job = line.json("show", line.library / "broken.jpg")["job"]
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert "broken.jpg" in job["error"]
    assert "\n" not in job["error"]


def test_strict_makes_failed_photos_an_error(line: Line) -> None:
    (line.library / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbut no more")
    os.utime(line.library / "broken.png", (1_600_000_000, 1_600_000_000))
    line.json("ingest", line.library)
    assert line.run("worker", "--drain", "--strict", check=False).returncode == 1


def test_a_picture_over_the_pixel_cap_names_the_setting(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain(KIZU_MAX_PIXELS="1000")
    assert "KIZU_MAX_PIXELS" in line.json("show", line.library / "0.jpg")["job"]["error"]


def test_a_deleted_file_is_reported_and_nothing_is_forgotten(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    (line.library / "0.jpg").unlink()
    again = line.run("ingest", line.library)
    assert "1 known photos are not there now" in again.stderr
    assert line.json("status")["assets"] == 3
    assert line.json("show", line.library / "0.jpg")["embedding"] is not None


def test_a_missing_folder_is_reported_not_taken_as_all_deleted(line: Line) -> None:
    line.json("ingest", line.library)
    line.library.rename(line.library.with_name("unplugged"))
    again = line.run("ingest", line.library, check=False)
    assert again.returncode == 1
    assert str(line.library) in again.stderr
    assert line.json("status")["assets"] == 3


def test_forget_removes_a_photo_with_all_its_rows_and_no_file(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    assert line.json("forget", line.library / "0.jpg")["assets"] == 1
    status = line.json("status")
    assert (status["assets"], status["embeddings"], status["queue"]["completed"]) == (2, 2, 2)
    assert (line.library / "0.jpg").exists()
    assert line.run("show", line.library / "0.jpg", check=False).returncode == 1
    assert line.json("forget", line.library)["assets"] == 2
    assert line.json("status")["objects"] == 0


def test_users_do_not_see_each_others_photos(line: Line) -> None:
    stranger = str(uuid.uuid4())
    line.json("ingest", line.library)
    line.drain()
    assert line.json("status", "--user", stranger)["assets"] == 0
    assert line.json("search", "sunset", "--user", stranger)["results"] == []
    assert line.run("show", line.library / "0.jpg", "--user", stranger, check=False).returncode == 1
    assert line.json("ingest", line.library, "--user", stranger)["registered"] == 3
    assert line.json("status")["assets"] == 3


def test_only_the_operations_asked_for_are_done_and_the_rest_comes_later(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "objects")
    line.drain()
    assert line.json("show", line.library / "0.jpg")["embedding"] is None
    assert line.json("ingest", line.library)["queued"] == 3
    line.drain()
    assert line.json("show", line.library / "0.jpg")["embedding"] is not None


def test_faces_come_when_they_are_asked_for(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "faces")
    line.drain()
    status = line.json("status")
    seen = [face for name in ("0.jpg", "1.jpg", "2.jpg") for face in line.json("show", line.library / name, "--vectors")["faces"]]
    assert status["queue"]["completed"] == 3
    assert status["faces"] == len(seen)
    assert all(len(face["landmarks"]) == 5 and abs(np.linalg.norm(face["vector"]) - 1) < 1e-2 for face in seen)


def thumbnails(line: Line) -> list[Path]:
    return sorted((Path(line.env["KIZU_DATA_DIR"]) / "thumbnails").rglob("*.webp"))


def test_thumbnails_of_faces_go_with_their_photo_and_with_the_database(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "faces")
    line.drain()
    found = {name: len(line.json("show", line.library / name)["faces"]) for name in ("0.jpg", "1.jpg", "2.jpg")}
    assert sum(found.values()) > 0
    assert len(thumbnails(line)) == 2 * sum(found.values())
    assert all(path.stat().st_mode & 0o077 == 0 for path in thumbnails(line))
    shown = line.run("show", line.library / max(found, key=lambda name: found[name])).stdout
    assert sum(row.startswith("face ") for row in shown.splitlines()) == max(found.values())
    line.json("forget", line.library / "0.jpg")
    assert len(thumbnails(line)) == 2 * (found["1.jpg"] + found["2.jpg"])
    line.run("db", "reset", "--yes")
    assert not (Path(line.env["KIZU_DATA_DIR"]) / "thumbnails").exists()


def test_a_worker_deletes_thumbnails_whose_face_is_gone(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "faces")
    line.drain()
    kept = thumbnails(line)
    stray = kept[0].with_name(f"{'0' * 32}-112.webp")
    stray.write_bytes(b"of a face that is gone")
    line.drain()
    assert thumbnails(line) == kept


def test_a_caption_is_made_in_a_job_of_its_own_and_found_by_its_words(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "embedding,describe")
    line.drain()
    shown = line.json("show", line.library / "0.jpg")
    assert shown["job"]["status"] == "completed"
    assert shown["embedding"] is not None
    assert line.json("status")["captions"] > 0
    found = line.json("search", shown["caption"])["results"]
    assert found[0]["asset_id"] == shown["asset_id"]
    assert found[0]["text"] == shown["caption"]


def test_a_changed_setting_says_how_many_photos_want_a_re_run_and_one_command_queues_them(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "objects")
    line.drain()
    changed = {"KIZU_BACKEND": "cpu", "YOLO_SIZE": "s", "KIZU_MODEL_REPOSITORY": str(line.cwd / "models")}

    status = line.run("status", "--json", **changed)
    assert "3 photos have objects of fake-yolo; YOLO_SIZE now means yolov8s" in status.stderr
    assert "kizu-fast reindex --operations objects" in status.stderr
    assert json.loads(status.stdout)["queue"]["completed"] == 3
    checks = {check["name"]: check for check in json.loads(line.run("doctor", "--json", check=False, **changed).stdout)["checks"]}
    assert checks["re-run of objects"]["fix"] == "kizu-fast reindex --operations objects"
    assert line.run("status").stderr == ""

    assert line.json("reindex", **changed) == {"queued": 3, "operations": {"objects": 3}}
    assert line.run("status", **changed).stderr == ""  # they wait for it
    assert line.json("reindex", **changed)["queued"] == 0
    assert line.drain()["completed"] == 3


def test_everything_can_be_done_again(line: Line) -> None:
    line.json("ingest", line.library, "--operations", "embedding,objects")
    line.drain()
    assert line.json("reindex") == {"queued": 0, "operations": {}}
    assert "nothing to do" in line.run("reindex").stderr
    assert line.json("reindex", "--all", "--operations", "objects") == {"queued": 3, "operations": {"objects": 3}}
    assert "run: kizu-fast worker" in line.run("reindex", "--all", "--operations", "embedding").stderr
    assert line.run("reindex", "--operations", "holograms", check=False).returncode == 2
    assert line.drain()["completed"] == 3
    assert line.json("status")["embeddings"] == 3


def test_ingest_says_once_what_cannot_be_done_yet(line: Line) -> None:
    bare = {"KIZU_BACKEND": "cpu", "KIZU_MODEL_REPOSITORY": str(line.cwd / "none")}
    said = line.run("ingest", line.library, "--operations", "embedding,faces", **bare).stderr
    assert said.count("faces cannot be done yet") == 1
    assert "python -m export" in said
    assert "cannot be done yet" not in line.run("ingest", line.library, "--operations", "embedding", **bare).stderr  # nothing is queued


def test_the_contact_sheet_is_one_file_with_pictures_inside(line: Line) -> None:
    line.json("ingest", line.library)
    line.drain()
    page = line.cwd / "found.html"
    line.run("search", "<b>anything</b>", "--open", page)
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 3
    assert "<b>anything" not in text
    assert "http" not in text


def test_a_file_name_that_is_no_utf8_goes_all_the_way(line: Line, painter: Painter) -> None:
    odd = os.fsencode(line.library) + b"/caf\xe9 \xff.jpg"
    painter(line.library / "x.jpg", 50).rename(os.fsdecode(odd))
    assert line.json("ingest", line.library)["registered"] == 4
    assert line.drain()["failed"] == 0
    assert os.fsencode(json.loads(line.run("show", os.fsdecode(odd), "--json").stdout)["path"]) == odd


def test_symlinks_that_lead_out_of_the_library_are_not_read(line: Line, painter: Painter, tmp_path: Path) -> None:
    secret = painter(tmp_path / "private" / "secret.jpg", 77)
    (line.library / "link.jpg").symlink_to(secret)
    (line.library / "loop").symlink_to(line.library, target_is_directory=True)
    said = line.json("ingest", line.library)
    assert said["registered"] == 3
    assert [Path(rejected["path"]).name for rejected in said["rejected"]] == ["link.jpg"]


def test_without_a_library_root_the_ingested_folders_are_remembered(line: Line) -> None:
    line.env.pop("LIBRARY_ROOT")
    line.json("ingest", line.library)
    report = line.drain()
    assert (report["completed"], report["failed"]) == (3, 0)


def test_unknown_photos_and_wrong_usage_have_their_exit_codes(line: Line) -> None:
    assert line.run("show", "/nowhere/at/all.jpg", check=False).returncode == 1
    assert line.run("search", check=False).returncode == 2
    assert line.run("worker", "--backend", "abacus", check=False).returncode == 2
    assert line.run("forget", check=False).returncode == 2
    assert line.run("status", check=False, KIZU_BATCHSIZE="3").returncode == 1
    assert line.run("status", check=False, DATABASE_URL="postgresql://x@127.0.0.1:1/y").returncode == 1


def test_no_password_is_shown_when_a_database_cannot_be_reached(line: Line) -> None:
    done = line.run("status", check=False, DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/y")
    assert "hunter2" not in done.stdout + done.stderr
    assert "127.0.0.1" in done.stderr


def test_every_command_has_help_with_an_example(line: Line) -> None:
    for command in (
        "doctor",
        "ingest",
        "worker",
        "status",
        "show",
        "search",
        "reindex",
        "forget",
        "models list",
        "models load",
        "models unload",
        "models switch",
        "db url",
        "db migrate",
    ):
        assert "xample" in line.run(*command.split(), "--help").stdout, command


def test_doctor_proves_the_backend_by_an_inference(line: Line) -> None:
    said = line.json("doctor")
    assert said["ok"] is True
    assert any(check["name"].startswith("model fake") for check in said["checks"])
    assert all(set(check) == {"name", "ok", "detail", "fix"} for check in said["checks"])


@pytest.mark.parametrize("backend", ["cuda", "tensorrt", "coreml"])
def test_doctor_says_plainly_that_an_accelerator_is_not_there(line: Line, backend: str) -> None:
    done = line.run("doctor", "--backend", backend, "--json", check=False)
    (models,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "models"]
    if models["ok"]:
        pytest.skip(f"this machine has what {backend} needs")
    assert done.returncode == 1
    assert f"backend {backend}: " in models["detail"]
    assert "Traceback" not in done.stderr


def test_doctor_names_what_is_missing_and_the_command_that_mends_it(line: Line, tmp_path: Path) -> None:
    done = line.run("doctor", "--backend", "cpu", "--json", check=False, KIZU_MODEL_REPOSITORY=str(tmp_path / "empty"))
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["ok"] is False
    assert any(not check["ok"] and "export" in (check["detail"] + str(check["fix"])) for check in said["checks"])


def test_a_gpu_that_is_to_decode_and_is_not_there_is_an_error_never_a_silent_cpu(line: Line) -> None:
    told = line.run("doctor", "--json", check=False, KIZU_DECODE="gpu")
    checks = {check["name"]: check for check in json.loads(told.stdout)["checks"]}
    if checks["decode"]["ok"]:
        pytest.skip("this machine has a GPU that decodes")
    worked = line.run("worker", "--drain", check=False, KIZU_DECODE="gpu")

    assert (told.returncode, worked.returncode) == (1, 1)
    assert checks["decode"]["detail"].startswith("KIZU_DECODE=gpu")
    assert "KIZU_DECODE=scaled" in checks["decode"]["fix"]
    assert "KIZU_DECODE=scaled decodes without it" in worked.stderr
    assert "Traceback" not in worked.stderr


def test_an_accelerator_that_is_not_there_is_an_error_never_a_silent_cpu(line: Line) -> None:
    for backend in ("cuda", "tensorrt", "coreml", "openvino", "triton"):
        done = line.run("worker", "--backend", backend, "--drain", check=False)
        assert done.returncode == 1, backend
        assert len(done.stderr.strip()) > 10


def test_db_url_keeps_the_server_up_until_it_is_stopped(line: Line) -> None:
    url = line.json("db", "url")["url"]
    assert url.startswith("postgresql://")
    assert line.json("db", "stop") == {"stopped": True}
    assert line.json("db", "stop") == {"stopped": False}
