"""The machine: facts that name nobody, and what others took of it."""

import getpass
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.machine import ROOT, Meter, commit, cpu_model, facts, own_cpu_s


def readings(*values: float) -> Callable[[], float]:
    left = iter(values)
    return lambda: next(left)


def meter(own: tuple[float, float], busy: tuple[float, float], total: tuple[float, float]) -> Meter:
    pairs = iter(zip(busy, total, strict=True))
    return Meter(readings(*own), busy_cpu_s=lambda: next(pairs))


def test_others_took_what_was_busy_and_not_ours() -> None:
    assert meter(own=(1.0, 5.0), busy=(10.0, 16.0), total=(100.0, 110.0)).share() == pytest.approx(0.2)


def test_nobody_else_is_zero_even_when_the_clocks_disagree() -> None:
    assert meter(own=(0.0, 6.0), busy=(0.0, 5.9), total=(0.0, 10.0)).share() == 0.0


def test_no_time_passed_is_no_share() -> None:
    assert meter(own=(0.0, 0.0), busy=(0.0, 0.0), total=(5.0, 5.0)).share() == 0.0


def test_every_reading_starts_from_the_last_one() -> None:
    pairs = iter([(0.0, 0.0), (10.0, 10.0), (10.0, 20.0)])
    busy = Meter(readings(0.0, 0.0, 0.0), busy_cpu_s=lambda: next(pairs))
    assert [busy.share(), busy.share()] == [1.0, 0.0]


def test_the_real_clock_gives_a_share() -> None:
    assert 0.0 <= Meter(own_cpu_s).share() <= 1.0


def test_our_cpu_time_grows_with_our_work() -> None:
    before = own_cpu_s()
    while own_cpu_s() <= before:
        sum(range(100_000))
    assert own_cpu_s() > before


def test_a_process_that_has_ended_counts_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    child.wait()
    assert own_cpu_s([process]) >= own_cpu_s([]) - 0.5


def test_facts_are_json_and_name_neither_host_nor_user() -> None:
    text = json.dumps(facts())
    words = {word.strip('",:{}[]') for word in text.split()}
    assert words.isdisjoint({platform.node(), getpass.getuser(), str(Path.home())})
    assert {"cpu", "cores", "memory_gb", "platform", "python", "packages"} == set(json.loads(text))


def test_facts_carry_the_versions_of_what_computes() -> None:
    packages = facts()["packages"]
    assert {"numpy", "asyncpg"} <= set(packages)


def test_the_processor_is_named_as_it_names_itself(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n")
    assert cpu_model(cpuinfo) == "AMD EPYC (family 25, model 1)"


def test_a_processor_that_says_nothing_is_its_architecture(tmp_path: Path) -> None:
    assert cpu_model(tmp_path / "absent") == (platform.processor() or platform.machine())


def git(folder: Path, *arguments: str) -> None:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env={**os.environ, **identity})


def test_a_commit_is_marked_when_files_differ_from_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    clean = commit(tmp_path)
    (tmp_path / "file").write_text("two")
    assert clean is not None
    assert len(clean) == 40
    assert commit(tmp_path) == clean + "+"


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None


def test_the_root_is_the_project() -> None:
    assert (ROOT / "pyproject.toml").is_file()
