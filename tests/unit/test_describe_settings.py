"""DESCRIBE_MODEL and DESCRIBE_DETAIL: what they may say, and what is told to whoever says something else."""

from pathlib import Path

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.models.captioners import UNSERVED_CAPTIONERS
from kizu_fast.settings import load_settings
from kizu_fast.worker.config import engine_config


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DESCRIBE_MODEL", "DESCRIBE_DETAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_florence_s_shortest_captions_are_the_default() -> None:
    settings = load_settings()
    assert (settings.describe_model, settings.describe_detail) == ("florence2", "caption")


@pytest.mark.parametrize(("model", "detail"), [("florence2", "caption"), ("florence2", "detailed"), ("florence2", "more"), ("vit-gpt2", "caption")])
def test_what_is_served_reaches_the_engine(monkeypatch: pytest.MonkeyPatch, model: str, detail: str) -> None:
    monkeypatch.setenv("DESCRIBE_MODEL", model)
    monkeypatch.setenv("DESCRIBE_DETAIL", detail)
    chosen = engine_config(load_settings(), ("describe",)).chosen
    assert (chosen.describe_model, chosen.describe_detail) == (model, detail)


@pytest.mark.parametrize("name", list(UNSERVED_CAPTIONERS))
def test_a_known_captioner_that_is_not_served_is_refused_with_the_reason_and_the_way_on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DESCRIBE_MODEL", name)
    with pytest.raises(ConfigError, match=rf"DESCRIBE_MODEL: .*{name} .*set DESCRIBE_MODEL=florence2"):
        load_settings()


def test_an_unknown_captioner_is_refused_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRIBE_MODEL", "gpt9")
    with pytest.raises(ConfigError, match="DESCRIBE_MODEL: .*one of florence2, vit-gpt2"):
        load_settings()


@pytest.mark.parametrize(("model", "detail", "levels"), [("florence2", "long", "caption, detailed, more"), ("vit-gpt2", "detailed", "caption")])
def test_a_level_of_detail_that_the_captioner_lacks_is_refused(monkeypatch: pytest.MonkeyPatch, model: str, detail: str, levels: str) -> None:
    monkeypatch.setenv("DESCRIBE_MODEL", model)
    monkeypatch.setenv("DESCRIBE_DETAIL", detail)
    with pytest.raises(ConfigError, match=f"DESCRIBE_DETAIL: .*{levels}"):
        load_settings()


def test_the_message_is_one_line_and_names_the_setting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRIBE_DETAIL", "long")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("DESCRIBE_DETAIL: ")
    assert str(caught.value).count("DESCRIBE_DETAIL") == 1
