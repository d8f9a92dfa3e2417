"""setup/trial.py: what `make run` decides by itself, and how it ends when interrupted."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def trial(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = script("trial")
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    yield module
    for name in CHOICES:
        os.environ.pop(name, None)


class Programs:
    """Stands for both environments: exports what it can, and answers what the program would say of its settings."""

    def __init__(self, trial: ModuleType, folder: Path) -> None:
        self.log, self.answers, self.can = folder / "log", folder / "answers", folder / "can"
        self.log.touch()
        self.can.touch()
        trial.EXPORT = self._script(folder / "export", EXPORTING)
        trial.RUN = self._script(folder / "run", "import pathlib, sys\nprint(pathlib.Path(ANSWERS).read_text())")
        self.says()

    def _script(self, path: Path, code: str) -> Path:
        names = {"LOG": self.log, "ANSWERS": self.answers, "CAN": self.can}
        head = "\n".join(f"{name} = {str(value)!r}" for name, value in names.items())
        path.write_text(f"#!{sys.executable}\n{head}\n{code}\n")
        path.chmod(0o755)
        return path

    def says(self, *operations: str, missing: tuple[str, ...] = (), given: bool = False, reader: str = "easyocr", reader_given: bool = False) -> None:
        document = {
            "operations": operations or ("embedding", "objects", "faces", "ocr"),
            "given": given,
            "reader": reader,
            "reader_given": reader_given,
            "missing": dict.fromkeys(missing, "no such model; run: python -m export"),
        }
        self.answers.write_text(json.dumps(document))

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


CHOICES = ("YOLO_SIZE", "FACE_MODEL_NAME", "OCR_MODEL", "KIZU_OPERATIONS")
EXPORTING = """
import pathlib, sys
if "export.held" in sys.argv:
    print("buffalo_s\\nmine")
    sys.exit(0)
asked = sys.argv[sys.argv.index("--models") + 1] + " " + sys.argv[sys.argv.index("--weights") + 1]
with open(LOG, "a") as log:
    log.write(asked + "\\n")
sys.exit(0 if asked in pathlib.Path(CAN).read_text().splitlines() else 1)
"""


@pytest.fixture
def programs(trial: ModuleType, tmp_path: Path) -> Programs:
    (tmp_path / "bin").mkdir()
    return Programs(trial, tmp_path / "bin")


def test_the_pack_that_the_weights_folder_holds_is_taken_and_said(
    trial: ModuleType, programs: Programs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial._choose_pack(tmp_path)
    assert "FACE_MODEL_NAME" not in os.environ  # no folder of packs, nothing to look at
    (tmp_path / "insightface" / "models").mkdir(parents=True)
    trial._choose_pack(tmp_path)
    assert os.environ["FACE_MODEL_NAME"] == "buffalo_s"
    assert "FACE_MODEL_NAME=buffalo_s" in capsys.readouterr().err


def test_a_pack_given_from_outside_is_respected(trial: ModuleType, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "insightface" / "models").mkdir(parents=True)
    monkeypatch.setenv("FACE_MODEL_NAME", "antelopev2")
    trial._choose_pack(tmp_path)
    assert os.environ["FACE_MODEL_NAME"] == "antelopev2"


def test_faces_and_text_come_from_the_folder_else_from_the_official_source(trial: ModuleType, programs: Programs, tmp_path: Path) -> None:
    programs.can.write_text(f"face {tmp_path}\neasyocr official\n")
    programs.says(missing=("faces", "ocr"))
    trial._export_optional(tmp_path)
    assert programs.asked == [f"face {tmp_path}", f"easyocr {tmp_path}", "easyocr official"]


def test_other_readers_that_the_folder_holds_are_exported_too(trial: ModuleType, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "ppocr").mkdir()
    programs.can.write_text(f"easyocr {tmp_path}\nppocr {tmp_path}\n")
    programs.says("ocr", missing=("ocr",))
    trial._export_optional(tmp_path)
    assert programs.asked == [f"easyocr {tmp_path}", f"ppocr {tmp_path}"]
    assert "OCR_MODEL" not in os.environ


def test_what_cannot_be_had_is_left_out_and_said_with_the_command(trial: ModuleType, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.says(missing=("faces", "ocr"))
    trial._export_optional(None)
    assert programs.asked == ["face official", "easyocr official", "ppocr official"]
    assert os.environ["KIZU_OPERATIONS"] == "embedding,objects"
    said = capsys.readouterr().err
    assert "faces: its models could not be had" in said
    assert "ocr: its models could not be had" in said
    assert "python -m export" in said


def test_what_somebody_asked_for_is_never_left_out(trial: ModuleType, programs: Programs) -> None:
    programs.says("embedding", "faces", missing=("faces",), given=True)
    trial._export_optional(None)
    assert "KIZU_OPERATIONS" not in os.environ
    assert programs.asked == ["face official"]


def test_the_other_reader_is_taken_where_the_first_cannot_be_had(trial: ModuleType, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.can.write_text("ppocr official\n")
    programs.says("embedding", "objects", "ocr", missing=("ocr",))
    trial._export_optional(None)
    assert os.environ["OCR_MODEL"] == "ppocr"
    assert "OCR_MODEL=ppocr" in capsys.readouterr().err


def test_a_reader_given_from_outside_is_not_replaced(trial: ModuleType, programs: Programs) -> None:
    programs.can.write_text("ppocr official\n")
    programs.says("ocr", missing=("ocr",), reader_given=True)
    trial._export_optional(None)
    assert programs.asked == ["easyocr official"]
    assert "OCR_MODEL" not in os.environ


def test_models_that_were_exported_before_need_no_network(trial: ModuleType, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    trial._export_optional(None)
    assert programs.asked == []
    assert "KIZU_OPERATIONS" not in os.environ
    assert "non-commercial" in capsys.readouterr().err


def test_settings_that_are_wrong_end_the_run(trial: ModuleType, programs: Programs) -> None:
    trial.RUN = programs._script(programs.log.with_name("broken"), "import sys\nsys.exit('kizu-fast: unknown setting KIZU_X')")
    with pytest.raises(trial.StepFailed):
        trial._survey()


@pytest.mark.parametrize(("held", "chosen"), [("n", "n"), ("nm", "m"), ("nsx", "x"), ("ns", "s"), ("", None)])
def test_the_size_is_taken_from_the_weights_folder(trial: ModuleType, tmp_path: Path, held: str, chosen: str | None) -> None:
    for size in held:
        (tmp_path / f"yolov8{size}.pt").touch()
    trial._choose_yolo(tmp_path)
    assert os.environ.get("YOLO_SIZE") == chosen


def test_a_size_given_from_outside_is_respected(trial: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_SIZE", "l")
    (tmp_path / "yolov8n.pt").touch()
    trial._choose_yolo(tmp_path)
    assert os.environ["YOLO_SIZE"] == "l"


def test_a_size_that_was_exported_before_serves_when_nothing_can_be_downloaded(
    trial: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIZU_MODEL_REPOSITORY", str(tmp_path))
    assert trial._exported_yolo() is False
    (tmp_path / "yolov8n" / "1").mkdir(parents=True)
    (tmp_path / "yolov8n" / "1" / "model.onnx").touch()
    assert trial._exported_yolo() is True
    assert os.environ["YOLO_SIZE"] == "n"


def test_a_failing_step_ends_the_run_with_its_code(trial: ModuleType) -> None:
    with pytest.raises(trial.StepFailed) as failure:
        trial._step([sys.executable, "-c", "raise SystemExit(3)"])
    assert failure.value.code == 3
    assert trial._step([sys.executable, "-c", "raise SystemExit(3)"], check=False) == 3


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "setup" / "trial.py", "--photos", tmp_path / "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"run: PHOTOS={tmp_path / 'nowhere'} is no folder"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_step_once_waits_for_its_end_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    script = tmp_path / "drive.py"
    step = f"""
import signal, sys
signal.signal({int(number)}, lambda *_: (print("asked to stop", flush=True), sys.exit(0)))
print("at work", flush=True)
signal.pause()
"""
    script.write_text(
        textwrap.dedent(f"""
        import importlib.util, signal, sys
        spec = importlib.util.spec_from_file_location("trial", {str(ROOT / "setup" / "trial.py")!r})
        trial = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(trial)
        signal.signal({int(number)}, trial._stop)
        try:
            trial._step([sys.executable, "-c", {step!r}])
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """)
    )
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "at work\n"
    driver.send_signal(number)
    rest, _ = driver.communicate(timeout=30)
    assert rest.splitlines() == ["asked to stop", "interrupted"]
