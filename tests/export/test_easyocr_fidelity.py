"""Our reading against easyocr's own: every step on drawn maps, and the whole line with real weights on real pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from easyocr.craft_utils import adjustResultCoordinates, getDetBoxes
from easyocr.recognition import AlignCollate, adjust_contrast_grey, custom_mean
from easyocr.utils import CTCLabelConverter, get_image_list, group_text_box
from numpy.typing import NDArray
from PIL import Image

from export import easyocr_fidelity
from export.measure import read
from kizu_fast.models import easyocr
from kizu_fast.models.easyocr import Crop, Span, Words
from kizu_fast.specs import CRAFT_STEPS, EASYOCR_WIDTHS

SMALL = 5  # pictures, one of them a page on its head: CRAFT costs seconds for each


def drawn_maps(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Blobs of text and links in whole steps, some touching, tilted or at the edge."""
    generator = np.random.default_rng(seed)
    text, link = (np.zeros((120, 200), np.float32) for _ in range(2))
    y, x = np.mgrid[0:120, 0:200]
    for which, strength in [(text, 1.0)] * 14 + [(link, 0.8)] * 8:
        middle, angle = generator.uniform((0, 0), (200, 120)), generator.uniform(-0.6, 0.6)
        along = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
        across = (y - middle[1]) * np.cos(angle) - (x - middle[0]) * np.sin(angle)
        long, high = generator.uniform(6, 30), generator.uniform(3, 7)
        blob = strength * generator.uniform(0.6, 1.1) * np.exp(-((along / long) ** 4) - (across / high) ** 2)
        np.add(which, blob.astype(np.float32), out=which)
    return tuple(np.clip(np.floor(each * CRAFT_STEPS), 0, 255).astype(np.uint8) for each in (text, link))  # type: ignore[return-value]


def originals_words(text: NDArray[np.uint8], link: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """What the library makes of the same maps: a step's lower end is a little above it, so that its > and >= are ours."""
    floats = [(each.astype(np.float32) + np.float32(0.01)) / CRAFT_STEPS for each in (text, link)]
    boxes, _, _ = getDetBoxes(*floats, 0.7, 0.4, 0.4)
    return [np.array(box).astype(np.int32) for box in adjustResultCoordinates(boxes, 1.25, 1.25)]


@pytest.mark.parametrize("seed", range(6))
def test_boxes_and_lines_of_a_map_are_the_librarys(seed: int) -> None:
    text, link = drawn_maps(seed)
    ours = easyocr.words({"text_map": text, "link_map": link}, easyocr.Canvas((240, 400), 0.8, 240, 400))
    wanted = originals_words(text, link)
    assert len(wanted) >= 3
    level, slanted = group_text_box([box.reshape(-1) for box in wanted], 0.1, 0.5, 0.5, 0.5, 0.1)
    kept = easyocr.large_enough(Words(tuple(Span(*map(int, each)) for each in level), tuple(np.array(each, float) for each in slanted)))
    assert ours.level == kept.level
    assert np.allclose(np.array(ours.slanted), np.array(kept.slanted), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_the_librarys(seed: int) -> None:
    generator = np.random.default_rng(seed)
    picture = np.repeat(generator.integers(0, 256, (90, 140, 1), np.uint8), 3, axis=2)
    level = [[int(generator.integers(-5, 60)), int(generator.integers(70, 150)), int(generator.integers(-5, 30)), int(generator.integers(40, 95))]]
    level += [[20, 32, 5, 80]]  # runs down
    slanted = [[[20.5, 10.0], [110.0, 44.5], [101.5, 62.0], [12.0, 29.0]]]
    ours = easyocr.crops(picture, Words(tuple(Span(*each) for each in level), tuple(map(np.array, slanted))))
    for crop, (hor, free) in zip(ours, [([level[0]], []), ([level[1]], []), ([], slanted)], strict=True):
        images, width = get_image_list(hor, free, picture[..., 0], model_height=64)
        assert crop.width == width
        assert np.array_equal(crop.grey, images[0][1])
        assert np.allclose(crop.quad, images[0][0])
        for contrast in (0.0, 0.5):
            collate = AlignCollate(imgH=64, imgW=int(width), keep_ratio_with_pad=True, adjust_contrast=contrast)
            theirs = collate([Image.fromarray(images[0][1])])[0, 0].numpy()
            seen = (easyocr.with_contrast(crop) or crop) if contrast else crop
            assert np.abs(easyocr.row(seen, (64, int(width))) - (theirs * 0.5 + 0.5) * 255).max() < 1e-3


def test_contrast_is_the_librarys() -> None:
    generator = np.random.default_rng(1)
    for low, high in ((100, 130), (0, 255), (0, 5), (200, 255), (60, 160)):
        grey = generator.integers(low, high, (64, 200)).astype(np.uint8)
        ours = easyocr.with_contrast(Crop(np.zeros((4, 2)), grey, 256))
        assert np.array_equal(grey if ours is None else ours.grey, adjust_contrast_grey(grey, target=0.5))


def test_text_and_confidence_are_the_librarys() -> None:
    generator = np.random.default_rng(2)
    converter = CTCLabelConverter("abcd ")
    for steps in (1, 7, 63):
        ids, scores = generator.integers(0, 6, steps), generator.uniform(0.5, 1, steps).astype(np.float32)
        ours = easyocr.read({"ids": ids.astype(np.int32), "scores": scores}, ("", *"abcd "))
        assert ours.text == converter.decode_greedy(ids, torch.IntTensor([steps]))[0]
        spoken = scores[ids != 0]
        assert ours.confidence == pytest.approx(custom_mean(spoken) if len(spoken) else 0, abs=1e-6)


@pytest.fixture(scope="module")
def ours(easyocr_models: Path) -> easyocr_fidelity.Ours:
    return easyocr_fidelity.Ours(easyocr_models)


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[Path]:
    return [path for path, _ in easyocr_fidelity.english(shared / "images" / "ocr", SMALL)]


def test_lines_are_those_of_the_original_library(
    easyocr_models: Path, easyocr_weights: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command that the README names, on the smallest English pictures; without --count it takes all of them."""
    arguments = ["--weights", easyocr_weights, "--images", shared / "images" / "ocr", "--repository", easyocr_models, "--count", SMALL, "--json"]
    assert easyocr_fidelity.main(list(map(str, arguments))) == 0
    found = json.loads(capsys.readouterr().out)
    print(f"\n{found}")
    assert found["pictures"] == SMALL
    assert found["lines"] >= SMALL
    assert found["lines missing or extra"] == found["lines read otherwise"] == 0
    assert found["box_difference_px"] <= easyocr_fidelity.MAX_BOX_DIFFERENCE_PX
    assert found["confidence_difference"] < 1e-4
    assert found["error rate in our buckets"] <= found["error rate of the original"] + 0.01


def test_missing_weights_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--weights", tmp_path, "--images", tmp_path, "--repository", tmp_path / "models"]
    assert easyocr_fidelity.main(list(map(str, arguments))) == 1
    assert "craft_mlt_25k.pth" in capsys.readouterr().err


def test_a_row_alone_is_the_row_in_a_batch_of_eight(ours: easyocr_fidelity.Ours, pictures: list[Path]) -> None:
    generator = np.random.default_rng(5)
    photo = read(pictures[0], exact=True).pixels
    maps = [{"pixels": np.ascontiguousarray(np.resize(np.roll(photo, 17 * i), (96, 160, 3)))} for i in range(8)]
    rows = [{"pixels": generator.integers(0, 256, (64, EASYOCR_WIDTHS[4]), np.uint8), "languages": np.ones(1, np.uint8)} for _ in range(8)]
    for spec, tensors in ((ours.detector, maps), (ours.recogniser, rows)):
        together = ours.sessions.infer(spec.name, spec.stack(tensors))
        for i, row in enumerate(tensors):
            alone = ours.sessions.infer(spec.name, spec.stack([row]))
            for name, value in alone.items():  # products of matrices of other sizes round otherwise: scores may differ in the last digits
                assert np.allclose(value[0], together[name][i], rtol=0, atol=1e-5 if name == "scores" else 0), (spec.name, name)


def test_a_wider_bucket_changes_no_line_of_a_page(ours: easyocr_fidelity.Ours, pictures: list[Path]) -> None:
    photo = read(pictures[1], exact=True)
    assert [line.text for line in ours.exact(photo).lines] == [line.text for line in ours.buckets(photo).lines]
