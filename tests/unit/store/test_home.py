"""Where the embedded server keeps its things: per KIZU_DATA_DIR, noted there, never shared."""

import json
from pathlib import Path

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.store.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "data").mkdir()
    return Home.of(tmp_path / "data", tmp_path / "refuges")


def note(home: Home, data: Path) -> None:
    (home.data_dir / "server.json").write_text(json.dumps({"data": str(data), "run": "/run/kizu-x"}))


def test_two_ways_to_write_a_path_are_one_home(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    assert Home.of(tmp_path / "data" / ".." / "link") == Home.of(tmp_path / "data")


def test_two_folders_are_two_homes(tmp_path: Path) -> None:
    one, other = Home.of(tmp_path / "a"), Home.of(tmp_path / "b")
    assert one.refuge != other.refuge
    assert one.start_lock != other.start_lock


def test_without_a_note_there_is_no_cluster(home: Home) -> None:
    assert home.cluster() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data": "/x"}', '{"data": "/x", "run": "/y", "more": 1}'])
def test_a_damaged_note_is_no_note(home: Home, text: str) -> None:
    (home.data_dir / "server.json").write_text(text)
    assert home.cluster() is None


def test_a_note_names_data_in_the_folder_or_in_its_refuge(home: Home) -> None:
    for place in (home.data_dir, home.refuge):
        note(home, place / "pg18")
        cluster = home.cluster()
        assert cluster is not None
        assert cluster.data == place / "pg18"


def test_a_note_that_came_with_a_copy_is_not_believed(home: Home, tmp_path: Path) -> None:
    note(home, tmp_path / "original" / "pg18")
    assert home.cluster() is None


def test_a_refuge_is_open_to_all_and_says_whose_it_is(home: Home) -> None:
    refuge = home.make_refuge()
    assert refuge.stat().st_mode & 0o777 == 0o755
    assert (refuge / "KIZU_DATA_DIR").read_text() == str(home.data_dir)


def test_the_last_refuge_takes_the_folder_of_refuges_along(home: Home, tmp_path: Path) -> None:
    other = Home.of(tmp_path / "other", home.refuges)
    home.make_refuge()
    other.make_refuge()
    home.forget_refuge()
    assert other.refuge.is_dir()
    other.forget_refuge()
    assert not home.refuges.exists()
    other.forget_refuge()


def test_a_refuge_that_cannot_be_made_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="KIZU_DATA_DIR") as caught:
        Home.of(tmp_path / "data", tmp_path / "file").make_refuge()
    assert "\n" not in str(caught.value)


def test_notes_are_removed_and_locks_stay(home: Home) -> None:
    note(home, home.data_dir / "pg18")
    for path in (home.kept, home.start_lock, home.use_lock):
        path.touch()
    home.remove_notes()
    assert sorted(path.name for path in home.data_dir.iterdir()) == ["server.start.lock", "server.use.lock"]
