"""Settings to the values that an engine takes."""

from kizu_fast.domain import Operation
from kizu_fast.settings import Settings
from kizu_fast.worker.config import engine_config


def test_the_reader_s_settings_arrive() -> None:
    settings = Settings(ocr_model="ppocr", ocr_languages="en, de,", max_image_size=1024)
    config = engine_config(settings, (Operation.OCR,))
    assert config.chosen.ocr_model == "ppocr"
    assert config.chosen.ocr_languages == ("en", "de")
    assert config.max_image_size == 1024
    assert config.operations == (Operation.OCR,)


def test_models_are_those_that_the_settings_name() -> None:
    chosen = engine_config(Settings(clip_model="ViT-L-14", yolo_size="s", face_model_name="antelopev2"), ()).chosen
    assert (chosen.clip_model, chosen.yolo_size, chosen.face_model) == ("ViT-L-14", "s", "antelopev2")
