"""kizu-fast models: what is there, what it costs, and which space search reads."""

import json
from pathlib import Path

import graphs
import pytest
from processes import Line

KEYS = {"name", "state", "family", "source", "original", "megabytes", "licence", "space"}


@pytest.fixture
def stocked(line: Line, tmp_path: Path) -> Line:
    """A repository with both towers of the settings' CLIP and another size of YOLOv8 than theirs."""
    root = tmp_path / "repository"
    graphs.install_clip(root)
    graphs.install_text(root)
    graphs.install_yolo(root, "yolov8x")
    line.env.update(KIZU_MODEL_REPOSITORY=str(root), KIZU_BACKEND="cpu", KIZU_OPERATIONS="embedding,objects")
    return line


def test_a_list_says_which_are_in_use_which_are_just_there_and_which_are_missing(stocked: Line) -> None:
    models = stocked.json("models", "list")["models"]
    assert {model["name"]: model["state"] for model in models} == {
        "clip-vit-b-32-openai-image": "in use",
        "clip-vit-b-32-openai-text": "in use",
        "yolov8x": "exported",
        "yolov8m": "missing",
    }
    assert all(set(model) == KEYS for model in models)
    image, missing = models[0], models[-1]
    assert (image["source"], image["original"], image["licence"]) == ("official", "tiny", "not stated")
    assert image["megabytes"] >= 0
    assert image["space"] == "open_clip/ViT-B-32/openai/p1/00000000"
    assert missing["source"] is missing["megabytes"] is missing["licence"] is None
    said = stocked.run("models", "list")
    assert "python -m export --models yolov8m" in said.stderr
    assert "yolov8x" in said.stdout


def test_random_weights_are_called_meaningless_in_the_list(stocked: Line, tmp_path: Path) -> None:
    graphs.install_yolo(tmp_path / "repository", "yolov8n-random", source="random")
    assert "random: meaningless" in stocked.run("models", "list").stdout


def test_a_broken_manifest_hides_no_other_model(stocked: Line, tmp_path: Path) -> None:
    (tmp_path / "repository" / "yolov8x" / "manifest.json").write_text('{"name": "yolov8x"}')
    done = stocked.run("models", "list", "--json")
    models = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert (models["yolov8x"]["state"], models["yolov8x"]["licence"]) == ("broken", None)
    assert models["clip-vit-b-32-openai-image"]["state"] == "in use"
    assert "python -m export --models yolov8x" in done.stderr


def test_an_empty_repository_lists_what_is_missing(stocked: Line, tmp_path: Path) -> None:
    models = stocked.json("models", "list", "--repository", tmp_path / "nowhere")["models"]
    assert {model["state"] for model in models} == {"missing"}


def test_load_proves_a_model_and_says_what_it_takes(stocked: Line) -> None:
    models = stocked.json("models", "load", "yolov8x", "clip-vit-b-32-openai-image")["models"]
    assert [model["name"] for model in models] == ["yolov8x", "clip-vit-b-32-openai-image"]
    for model in models:
        assert (model["provider"], model["device"], model["precision"]) == ("CPUExecutionProvider", "cpu", "fp32")
        assert model["seconds"] > 0
        assert min(model["before_mb"], model["loaded_mb"], model["unloaded_mb"]) > 10
    assert "CPUExecutionProvider on cpu" in stocked.run("models", "load", "yolov8x").stdout


def test_without_names_the_models_in_use_are_loaded_and_a_missing_one_is_an_error(stocked: Line, tmp_path: Path) -> None:
    done = stocked.run("models", "load", check=False)
    assert done.returncode == 1
    assert "python -m export --models yolov8m" in done.stderr
    graphs.install_yolo(tmp_path / "repository")
    assert len(stocked.json("models", "load")["models"]) == 3


def test_unload_says_what_came_back(stocked: Line, tmp_path: Path) -> None:
    heavy = graphs.specs.clip_image("heavy", side=graphs.SIDE, dim=graphs.DIM, space="heavy/1")
    graphs.install(tmp_path / "repository", heavy, graphs.heavy_clip_image(120))
    model = stocked.json("models", "unload", "heavy")["models"][0]
    assert model["loaded_mb"] - model["before_mb"] >= 120
    assert model["loaded_mb"] - model["unloaded_mb"] >= 100


@pytest.mark.parametrize("command", ["load", "unload"])
def test_a_model_that_is_not_there_is_named(stocked: Line, command: str) -> None:
    done = stocked.run("models", command, "yolov8s", check=False)
    assert done.returncode == 1
    assert "model yolov8s is not in" in done.stderr


def test_help_says_that_nothing_stays_loaded(line: Line) -> None:
    said = " ".join(line.run("models", "load", "--help").stdout.split())
    assert "Nothing stays loaded when this command ends" in said


def test_switch_lets_search_read_a_space_that_holds_every_photo(stocked: Line, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    other = graphs.install_clip(root, "laion")
    graphs.install_text(root, "laion")
    stocked.json("ingest", stocked.library, "--operations", "embedding")
    stocked.drain("--operations", "embedding", KIZU_OPERATIONS="embedding")
    refused = stocked.run("models", "switch", other, check=False)
    assert refused.returncode == 1
    assert "does not hold every photo" in refused.stderr
    stocked.drain("--operations", "embedding", KIZU_OPERATIONS="embedding", CLIP_PRETRAINED="laion")
    first = "open_clip/ViT-B-32/openai/p1/00000000"
    assert stocked.json("models", "switch", first) == {"space": first, "before": other}
    assert stocked.json("models", "switch", other) == {"space": other, "before": first}
    assert len(json.loads(stocked.run("search", "a dog", "--json").stdout)["results"]) == 3


def test_switch_to_a_space_that_search_could_not_ask_is_refused(stocked: Line) -> None:
    done = stocked.run("models", "switch", "open_clip/nothing/p1/1", check=False)
    assert done.returncode == 1
    assert "no text model of the vector space" in done.stderr
