"""kizu_fast/settings.py: the environment, read once, refused where it is wrong."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from kizu_fast.domain import ALL, LIBRARY_OWNER, Operation
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings, known_variables, load_settings, parse_operations, refuse_unknown

SEED = {  # name: default, as the original documents them
    "model_cache_dir": Path("./model_cache"),
    "clip_model": "ViT-B-32",
    "clip_pretrained": "openai",
    "yolo_size": "m",
    "face_model_name": "buffalo_l",
    "face_threshold": 0.6,
    "max_image_size": 2048,
    "batch_size": 8,
    "api_host": "0.0.0.0",  # noqa: S104
    "api_port": 8000,
    "debug": False,
    "allow_external_apis": False,
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*known_variables(), *(name for name in os.environ if name.startswith("KIZU_"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_seeds_variables_keep_their_defaults() -> None:
    settings = load_settings()
    assert {name: getattr(settings, name) for name in SEED} == SEED


def test_a_plain_laptop_needs_no_setting_at_all() -> None:
    settings = load_settings()
    assert (settings.backend, settings.user, settings.operations, settings.allow_random) == ("cpu", LIBRARY_OWNER, ALL, False)
    assert (settings.lease_s, settings.max_pixels, settings.max_file_bytes) == (120, 128_000_000, 268_435_456)


@pytest.mark.parametrize(
    ("name", "near"),
    [("KIZU_BATCHSIZE", "BATCH_SIZE"), ("KIZU_LEASES", "KIZU_LEASE_S"), ("KIZU_MAXPIXELS", "KIZU_MAX_PIXELS"), ("KIZU_DATADIR", "KIZU_DATA_DIR")],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_name(monkeypatch: pytest.MonkeyPatch, name: str, near: str) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(ConfigError, match=f"unknown setting {name}; did you mean {near}"):
        load_settings()


def test_an_unknown_variable_in_the_env_file_is_refused_too() -> None:
    Path(".env").write_text("KIZU_LEASE=3\n")
    with pytest.raises(ConfigError, match="unknown setting KIZU_LEASE"):
        load_settings()


def test_a_name_like_nothing_known_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="README lists every setting"):
        refuse_unknown(["KIZU_QQQQQQQQ"])


@pytest.mark.parametrize("name", ["KIZU_ENVIRONMENTS", "KIZU_ACCEPT", "KIZU_ACCEPT_DATA", "PATH", "USER", "BACKEND"])
def test_variables_of_others_are_left_alone(name: str) -> None:
    refuse_unknown([name])


def test_a_shells_own_variables_are_no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "BACKEND", "OPERATIONS", "DECODE", "DATA_DIR"):
        monkeypatch.setenv(name, "nonsense")
    assert load_settings().user == LIBRARY_OWNER


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("YOLO_SIZE=s\nCLIP_MODEL=ViT-L-14\n")
    monkeypatch.setenv("YOLO_SIZE", "n")
    settings = load_settings()
    assert (settings.yolo_size, settings.clip_model) == ("n", "ViT-L-14")


def test_an_empty_variable_means_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBRARY_ROOT", "")
    assert load_settings().library_roots == ()


def test_several_library_roots_are_joined_by_the_systems_separator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBRARY_ROOT", os.pathsep.join(["/photos", "/more photos"]))
    assert load_settings().library_roots == (Path("/photos"), Path("/more photos"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("YOLO_SIZE", "huge"),
        ("KIZU_BACKEND", "abacus"),
        ("KIZU_USER", "me"),
        ("KIZU_LEASE_S", "soon"),
        ("KIZU_OPERATIONS", "paint"),
        ("API_PORT", "0"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_no_secret_is_shown_by_repr_or_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "eyJ-secret")
    assert "hunter2" not in repr(load_settings())
    assert "eyJ" not in repr(load_settings())
    monkeypatch.setenv("API_PORT", "hunter2")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().backend = "fake"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("all", ALL),
        ("objects", (Operation.OBJECTS,)),
        ("objects, embedding", (Operation.EMBEDDING, Operation.OBJECTS)),
        ("ocr,all", ALL),
        ("faces", (Operation.FACES,)),
    ],
)
def test_operations_are_read_in_a_fixed_order(text: str, operations: tuple[Operation, ...]) -> None:
    assert parse_operations(text) == operations


@pytest.mark.parametrize("text", ["", ",", "paint", "objects,paint"])
def test_unknown_operations_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="unknown operation"):
        parse_operations(text)


def test_every_setting_is_documented_in_the_readme() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    assert [name for name in sorted(known_variables()) if name not in readme] == []


def test_a_user_is_a_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIZU_USER", "11111111-2222-3333-4444-555555555555")
    assert Settings().user == UUID("11111111-2222-3333-4444-555555555555")
