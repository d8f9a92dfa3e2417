"""The figures that the exported models and our preprocessing have to keep, against the original libraries. Run with -s to see them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export import clip as clips
from export import fidelity, graph, measure, parity
from export.manifest import read
from export.wanted import Original
from export.weights import Weights
from kizu_fast import specs
from kizu_fast.models import clip as image_model

RANDOM_IMAGE = "clip-vit-b-32-random-image"


@pytest.fixture(scope="module")
def original() -> clips.Clip:
    """ViT-B-32 in open_clip, with the weights that the exported one was made from."""
    return clips.load(Original("clip", "ViT-B-32", "", random=True), Weights(None, "random", None, ""))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A hundred own pictures as JPEG files, two of them with enough pixels to be scaled by the decoder."""
    folder = tmp_path_factory.mktemp("rendered")
    for i, photo in enumerate(parity.pictures(100)):
        image = Image.fromarray(photo.pixels)
        (image.resize((3201, 2403)) if i < 2 else image).save(folder / f"{i:03}.jpg", quality=92)
    return sorted(folder.glob("*.jpg"))


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    """The twelve at full camera size first, then every fourth of the others."""
    everything = fidelity.pictures(shared / "images")
    return everything[:12] + everything[12::4]


def graph_of(models: Path, name: str) -> Path:
    return models / name / "1" / "model.onnx"


def assert_preprocessing_holds(paths: list[Path], what: str) -> None:
    scaled, exact = measure.preprocessing(paths)
    print(
        f"\npreprocessing, {what}, 8-bit levels: default mean {scaled.mean:.3f}, worst {scaled.worst:.3f} ({scaled.worst_file}); "
        f"exact worst {exact.worst:.4f}; {scaled.pictures} pictures"
    )
    assert scaled.mean <= 0.75
    assert scaled.worst <= 2.0
    assert exact.worst <= 0.1


def test_preprocessing_of_real_photos_is_open_clip_s_own(photos: list[Path]) -> None:
    assert_preprocessing_holds(photos, "photos")


def test_preprocessing_of_rendered_pictures_is_open_clip_s_own(rendered: list[Path]) -> None:
    assert_preprocessing_holds(rendered[:30], "rendered")


def test_the_set_has_originals_from_a_fifth_to_thirty_megapixels(photos: list[Path]) -> None:
    sizes = [measure.reference(path).size for path in photos[:12]]
    assert max(width * height for width, height in sizes) > 30e6
    assert len(photos) >= 80


def test_the_image_tower_is_open_clip_s_over_a_hundred_pictures(
    original: clips.Clip, models: Path, rendered: list[Path], shared_images: Path | None
) -> None:
    paths = fidelity.pictures(shared_images)[-100:] if shared_images else rendered
    figures = measure.graph_vectors(original, graph_of(models, RANDOM_IMAGE), paths)
    print(f"\nCLIP graph against open_clip, {len(paths)} {'photos' if shared_images else 'rendered pictures'}: {figures}")
    assert figures["cosine_min"] >= 0.9999
    assert figures["centred_cosine_min"] >= 0.9999


def test_the_whole_way_of_a_photo_gives_open_clip_s_vector(original: clips.Clip, models: Path, rendered: list[Path]) -> None:
    figures = measure.clip_vectors(original, graph_of(models, RANDOM_IMAGE), rendered[-24:])
    print(f"\nCLIP file to vector, exact decode, 24 rendered: {figures}")
    assert figures["cosine_min"] >= 0.9999
    assert figures["centred_cosine_min"] >= 0.9999


def test_the_centred_cosine_sees_what_the_plain_one_does_not(original: clips.Clip, rendered: list[Path]) -> None:
    """Untrained vectors look alike: even a wrong picture has a high cosine. So the gate must be the centred one."""
    rows = np.stack([image_model.preprocess(measure.read(path), 224) for path in rendered[:6]])
    tower = clips.ImageTower(original.model).eval()
    vectors = tower(clips.torch.from_numpy(rows)).detach().numpy()
    wrong = parity.compare_vectors(np.roll(vectors, 1, axis=0), vectors)
    assert wrong["cosine_min"] > 0.2
    assert wrong["centred_cosine_min"] < 0


def test_a_row_s_vector_does_not_depend_on_its_batch(models: Path, rendered: list[Path]) -> None:
    session = graph.Session(graph_of(models, RANDOM_IMAGE))
    rows = np.stack([image_model.preprocess(measure.read(path), 224) for path in rendered[:7]])
    together = session.run({"pixels": rows})["image_features"]
    alone = np.concatenate([session.run({"pixels": row[None]})["image_features"] for row in rows])
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("name", [RANDOM_IMAGE, "clip-vit-b-32-random-text", "yolov8n-random"])
def test_every_export_says_how_well_it_agrees(models: Path, name: str) -> None:
    manifest = read(models / name)
    assert manifest is not None
    figures: dict[str, Any] = manifest["parity"]
    print(f"\n{name}: {figures}")
    assert figures["batches"] == [1, 3]
    assert figures.get("centred_cosine_min", 1.0) >= 0.9999
    assert figures.get("score_difference", 0.0) <= 1e-3


def test_installed_graphs_are_what_every_backend_loads(models: Path) -> None:
    image = specs.clip_image(RANDOM_IMAGE, side=224, dim=512, space="")
    text = specs.clip_text("clip-vit-b-32-random-text", context=77, dim=512, space="")
    for spec in (image, text, specs.yolo("yolov8n-random", labels=())):
        facts = graph.check(graph_of(models, spec.name), spec)
        assert facts["opset"] == 18
        assert facts["ir_version"] <= 10


@pytest.fixture(scope="module")
def detector(models: Path, trained_weights: Path | None) -> Path:
    if trained_weights is None:
        pytest.skip("no trained yolov8n.pt at hand: mAP of random weights says nothing")
    return graph_of(models, "yolov8n")


def test_the_detector_is_as_good_as_ultralytics(detector: Path, trained_weights: Path, shared: Path) -> None:
    folder = shared / "images" / "objects"
    ways = {
        "ours": measure.Detector(graph.Session(detector)),
        "same shape": measure.Ultralytics(trained_weights / "yolov8n.pt", same_shape=True),
        "its predict": measure.Ultralytics(trained_weights / "yolov8n.pt", same_shape=False),
    }
    scores = {name: measure.mean_average_precision(detect, folder)[0] for name, detect in ways.items()}
    print(f"\nmAP50-95 on 100 pictures: {scores}")
    assert abs(scores["ours"] - scores["same shape"]) <= 0.002
    assert scores["ours"] >= scores["its predict"] - 0.005


def test_confident_detections_are_ultralytics_own(detector: Path, trained_weights: Path, shared: Path) -> None:
    ours, theirs = measure.Detector(graph.Session(detector)), measure.Ultralytics(trained_weights / "yolov8n.pt", same_shape=True)
    for path in sorted((shared / "images" / "objects").glob("*.jpg"))[:15]:
        found, want = ours(path, min_score=0.25), theirs(path, min_score=0.25)
        sure = [want.scores > 0.3, found.scores > 0.3]
        matched = [np.abs(found.boxes_xyxy - box).max(axis=1).min() < 1.5 for box in want.boxes_xyxy[sure[0]]] if len(found) else []
        assert all(matched), path.name
        assert abs(int(sure[0].sum()) - int(sure[1].sum())) <= 1, path.name


def test_our_letterbox_is_ultralytics_own(rendered: list[Path]) -> None:
    from ultralytics.data.augment import LetterBox  # noqa: PLC0415

    from kizu_fast.geometry import letterbox_for  # noqa: PLC0415

    generator = np.random.default_rng(1)
    for path in rendered[2:14]:
        pixels = np.asarray(Image.open(path))[: int(generator.integers(90, 300)), : int(generator.integers(90, 300))]
        for bucket in specs.YOLO_BUCKETS:
            want = LetterBox(bucket, auto=False)(image=np.ascontiguousarray(pixels))
            assert np.array_equal(letterbox_for(*pixels.shape[:2], bucket).apply(np.ascontiguousarray(pixels)), want)


def test_our_suppression_is_torchvision_s() -> None:
    import torchvision  # noqa: PLC0415

    from kizu_fast.geometry import nms  # noqa: PLC0415

    generator = np.random.default_rng(2)
    for _ in range(20):
        corners = generator.uniform(0, 500, (300, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(5, 200, (300, 2))], axis=1).astype(np.float32)
        scores, ids = generator.permutation(300).astype(np.float32) / 300, generator.integers(0, 4, 300)
        want = torchvision.ops.batched_nms(*map(clips.torch.from_numpy, (boxes, scores, ids)), 0.7).tolist()
        assert nms(boxes, scores, ids, max_iou=0.7).tolist() == want
