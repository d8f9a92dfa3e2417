"""Token ids of the run time equal open_clip's on a thousand strings of twelve scripts."""

import os
from pathlib import Path
from typing import Any

import open_clip
import pytest
from processes import ROOT

from export import tokens
from export.strings import ODD, SCRIPTS, texts
from kizu_fast.errors import ConfigError
from kizu_fast.models.clip_text import load_tokenizer


@pytest.fixture(scope="module")
def original() -> Any:
    return open_clip.get_tokenizer("ViT-B-32")


@pytest.fixture(scope="module")
def written(original: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokens.write(original, path)
    return path


def test_the_strings_are_a_thousand_different_ones_in_twelve_scripts() -> None:
    strings = texts(1000)
    assert len(SCRIPTS) == 12
    assert len(set(strings)) > 950
    assert strings == texts(1000)
    assert max(map(len, strings)) >= 5000
    assert "" in strings


def test_ids_equal_the_original_s_on_a_thousand_strings(original: Any, written: Path) -> None:
    strings = texts(1000)
    unequal = tokens.unequal(original, written, "p1", strings)
    print(f"\ntoken ids: {len(strings) - len(unequal)} of {len(strings)} strings in {len(SCRIPTS)} scripts equal open_clip's")
    assert unequal == []


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_ids_equal_the_original_s_in_each_script_alone(original: Any, written: Path, script: str) -> None:
    assert tokens.unequal(original, written, "p1", texts(len(ODD) + 40, [script])[len(ODD) :]) == []


def test_ids_equal_the_original_s_for_every_character_of_the_basic_plane_in_words(original: Any, written: Path) -> None:
    """Every seventh one. Characters younger than the pattern library's Unicode tables are letters to one and not to the other: no more than these."""
    strings = [f"a{chr(i)}b {chr(i)}1 {chr(i) * 2}" for i in range(0x20, 0xD800, 7)]
    assert len(tokens.unequal(original, written, "p1", strings)) <= 0.001 * len(strings)


def test_a_difference_would_be_found(original: Any, written: Path) -> None:
    assert tokens.unequal(original, written, "p1-whitespace", ["A Dog"]) == ["A Dog"]


def test_the_context_of_the_model_is_kept(tmp_path: Path) -> None:
    short = open_clip.get_tokenizer("ViT-B-32", context_length=16)
    tokens.write(short, tmp_path / "tokenizer.json")
    assert tokens.unequal(short, tmp_path / "tokenizer.json", "p1", texts(60)) == []
    assert load_tokenizer(tmp_path / "tokenizer.json", 16)("dog").shape == (16,)


@pytest.mark.parametrize(
    ("text_cfg", "steps"),
    [
        ({}, "p1"),
        ({"hf_tokenizer_name": "x"}, "p1-whitespace"),
        ({"hf_tokenizer_name": "x", "tokenizer_kwargs": {"clean": "canonicalize"}}, "p1-canonical"),
    ],
)
def test_cleaning_follows_the_model_s_configuration(text_cfg: dict[str, Any], steps: str) -> None:
    assert tokens.steps_of(text_cfg, "X") == steps


@pytest.mark.parametrize("odd", [{"tokenizer_mode": "clips"}, {"tokenizer_kwargs": {"strip_sep_token": True}}])
def test_a_tokenizer_that_the_run_time_cannot_repeat_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"X: its tokenizer asks for (tokenizer_mode|strip_sep_token)"):
        tokens.steps_of({"hf_tokenizer_name": "x", **odd}, "X")


@pytest.mark.real_weights
def test_the_multilingual_tokenizer_of_the_hub_equals_open_clip_s(tmp_path: Path) -> None:
    """xlm-roberta-base-ViT-B-32: the files that an export of it has brought, with every string in twelve scripts."""
    cache = Path(os.environ.get("MODEL_CACHE_DIR", ROOT / "model_cache"))
    config = open_clip.get_model_config("xlm-roberta-base-ViT-B-32")["text_cfg"]
    folder = cache / "open_clip" / "tokenizers" / config["hf_tokenizer_name"]
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(
            f"no {folder}/tokenizer.json: no package index carries it; run: python -m export --models xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k"
        )
    hub = open_clip.tokenizer.HFTokenizer(str(folder), context_length=config.get("context_length", 77))
    assert len(hub.tokenizer) == 250002
    tokens.write(hub, tmp_path / "tokenizer.json")
    assert tokens.unequal(hub, tmp_path / "tokenizer.json", tokens.steps_of(config, "xlm-roberta-base-ViT-B-32"), texts(1000)) == []
