"""The tiny CLIP's training: deterministic, never shown what is held out, and the committed artefact is what it says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from export import run
from export.quiet import quiet
from export.sources.clip import towers
from export.tiny_shapes import pictures, train
from kizu_fast.errors import ConfigError

COMMITTED = train.WEIGHTS / "open_clip"


@pytest.fixture(scope="module")
def model() -> Any:
    """The committed weights in the original library."""
    open_clip.add_model_config(COMMITTED / f"{train.MODEL}.json")
    with quiet():
        loaded = open_clip.create_model(train.MODEL, load_weights=False)
    loaded.load_state_dict(load_file(COMMITTED / f"{train.MODEL}_{train.TAG}.safetensors"))
    return loaded.eval()


def fresh(folder: Path) -> Any:
    torch.manual_seed(train.SEED)
    train.write_configuration(folder)
    with quiet():
        return open_clip.create_model(train.MODEL, load_weights=False)


def test_what_is_committed_is_small_and_configured_as_the_script_says() -> None:
    files = [path for path in train.WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert json.loads((COMMITTED / f"{train.MODEL}.json").read_text()) == json.loads(json.dumps(train.architecture()))
    written = json.loads((COMMITTED / "tokenizers" / train.TOKENIZER.replace("/", "--") / "tokenizer.json").read_text())
    assert sorted(written["model"]["vocab"], key=written["model"]["vocab"].__getitem__) == train.vocabulary()


def test_the_committed_model_finds_what_it_was_never_shown(model: Any) -> None:
    found = {held_out: train.recall(model, held_out=held_out) for held_out in (True, False)}
    print(f"\nrecall@5 among 240 pictures in open_clip: {found[True]:.3f} of held-out pairs, {found[False]:.3f} of known ones")
    assert found[True] >= 0.9
    assert found[False] >= 0.95


def test_an_untrained_one_finds_nothing(tmp_path: Path) -> None:
    assert train.recall(fresh(tmp_path).eval(), held_out=True) < 0.1


def test_every_caption_is_made_of_known_words() -> None:
    words, chance = train.tokenizer(), np.random.default_rng(2)
    for held_out in (True, False):
        for scene in pictures.scenes(300, chance, held_out=held_out):
            ids = words(pictures.caption(scene, chance), padding="max_length", max_length=train.CONTEXT, truncation=True).input_ids
            assert train.vocabulary().index(train.UNKNOWN) not in ids
            assert train.vocabulary().index(train.END) in ids, "cut before its end"


def test_the_end_has_the_largest_id() -> None:
    assert train.vocabulary()[-1] == train.END
    assert len(set(train.vocabulary())) == len(train.vocabulary())


def test_training_is_the_same_each_time_and_learns(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        states = []
        for _ in range(2):
            model = fresh(tmp_path)
            train.train(model, steps=3, pool=150)
            states.append(model.state_dict())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(states[0].values(), states[1].values(), strict=True))
    untrained = fresh(tmp_path).state_dict()
    assert not torch.equal(untrained["visual.conv1.weight"], states[0]["visual.conv1.weight"])


def test_a_scene_that_is_twice_in_a_batch_is_no_wrong_answer() -> None:
    vectors = torch.nn.functional.normalize(torch.eye(3)[[0, 0, 1]], dim=1)

    def model(_shown: Any, _ids: Any) -> Any:
        return vectors, vectors, torch.tensor(100.0)

    assert train._loss(model, None, None, torch.tensor([7, 7, 8])).item() < 1e-3
    assert train._loss(model, None, None, torch.tensor([7, 9, 8])).item() > 0.4


def test_an_architecture_of_one_s_own_lies_beside_its_weights(tiny: str, tiny_weights: Path, job: Callable[..., Any], tmp_path: Path) -> None:
    """A name that open_clip has never heard of, as `--models My-CLIP/v1 --weights DIR` asks for it."""
    home = tmp_path / "mine" / "open_clip"
    home.mkdir(parents=True)
    shutil.copy(tiny_weights / "open_clip" / f"{tiny}_mine.pt", home / "My-CLIP_v1.pt")
    missing = run.export(towers("My-CLIP", "v1")[:1], job(home.parent)).failures["clip-my-clip-v1-image"]
    assert "or bring its configuration as" in missing
    (home / "My-CLIP.json").write_text(json.dumps(open_clip.get_model_config(tiny)))
    outcome = run.export(towers("My-CLIP", "v1")[:1], job(home.parent))
    assert outcome.failures == {}
    assert outcome.manifests["clip-my-clip-v1-image"]["parity"]["centred_cosine_min"] >= 0.9999


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no configuration of open_clip: "),
        ('{"embed_dim": 4}', "needs embed_dim, vision_cfg and text_cfg"),
        (None, "or bring its configuration as"),
    ],
)
def test_a_missing_or_broken_architecture_is_one_line(content: str | None, reason: str, tmp_path: Path) -> None:
    from export import clip as clips  # noqa: PLC0415
    from export.wanted import Original  # noqa: PLC0415

    if content is not None:
        (tmp_path / "Odd-One.json").write_text(content)
    with pytest.raises(ConfigError, match=reason):
        clips._architecture(Original("clip", "Odd-One", "v1"), tmp_path / "Odd-One_v1.pt")
