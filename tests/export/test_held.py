"""export/held.py: packs that a weights folder holds whole."""

from pathlib import Path

import pytest

from export.held import complete, main


def pack(weights: Path, name: str, source: Path, *files: str) -> None:
    folder = weights / "insightface" / "models" / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).symlink_to(source / file)


@pytest.fixture
def source(face_weights: Path) -> Path:
    """The files of a whole pack."""
    return face_weights / "insightface" / "models" / "buffalo_s"


def test_packs_without_an_embedder_or_with_broken_files_are_passed_over(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(path.name for path in source.glob("*.onnx"))
    detector = next(name for name in files if name.startswith("det_"))
    pack(tmp_path, "mine", source, *files)
    pack(tmp_path, "buffalo_s", source, *files)
    pack(tmp_path, "buffalo_l", source, detector)
    pack(tmp_path, "antelopev2", source)
    broken = tmp_path / "insightface" / "models" / "broken"
    broken.mkdir()
    (broken / "det.onnx").write_bytes(b"no graph")

    assert complete(tmp_path) == ["buffalo_s", "mine"]
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "buffalo_s\nmine\n"


def test_a_folder_without_packs_holds_none(tmp_path: Path) -> None:
    assert complete(tmp_path) == []
