"""kizu_fast/worker/exits.py: whatever happens, a user sees one line and a number."""

from collections.abc import Callable

import pytest

from kizu_fast.errors import ConfigError, DatabaseUnavailable, PermanentError
from kizu_fast.worker.exits import exit_code, innermost


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize("error", [ConfigError("no model; run: make export"), DatabaseUnavailable("gone"), PermanentError("x.jpg: no such photo")])
def test_an_error_of_ours_is_its_own_line_and_exit_1(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(error)) == 1
    assert capsys.readouterr().err == f"kizu-fast: {error}\n"


def test_a_bug_is_one_line_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(KeyError("secret\nline"))) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "Traceback" not in shown
    assert "unexpected KeyError" in shown


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DEBUG", "true")
    assert exit_code(raising(ConfigError("no model"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_group_of_errors_shows_its_first_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    group = BaseExceptionGroup("tasks", [ExceptionGroup("inner", [ConfigError("the cause")])])
    assert isinstance(innermost(group), ConfigError)
    assert exit_code(raising(group)) == 1
    assert capsys.readouterr().err == "kizu-fast: the cause\n"


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(KeyboardInterrupt())) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (2, 2), ("no good", 1)])
def test_an_explicit_exit_keeps_its_code(code: int | str | None, expected: int) -> None:
    assert exit_code(raising(SystemExit(code))) == expected


def test_a_command_that_just_returns_is_0() -> None:
    assert exit_code(lambda: None) == 0
