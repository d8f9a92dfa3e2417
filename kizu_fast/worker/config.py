"""From settings to the single values that the layers below take."""

from kizu_fast.backends.providers import Limits
from kizu_fast.builtin import Chosen
from kizu_fast.engine import EngineConfig
from kizu_fast.settings import Settings


def engine_config(settings: Settings, operations: tuple[str, ...], *, backend_wait_s: float = 0.0) -> EngineConfig:
    """The values that an engine needs, out of the settings. backend_wait_s: patience at the start with a service that does not answer yet."""
    return EngineConfig(
        model_repository=settings.model_repository,
        backend=settings.backend,
        chosen=Chosen(
            clip_model=settings.clip_model,
            clip_pretrained=settings.clip_pretrained,
            yolo_size=settings.yolo_size,
            face_model=settings.face_model_name,
            ocr_model=settings.ocr_model,
            ocr_languages=tuple(code.strip() for code in settings.ocr_languages.split(",") if code.strip()),
            describe_model=settings.describe_model,
            describe_detail=settings.describe_detail,
        ),
        allow_random=settings.allow_random,
        operations=operations,
        batch_size=settings.batch_size,
        min_score=settings.object_min_score,
        max_image_size=settings.max_image_size,
        max_pixels=settings.max_pixels,
        max_file_bytes=settings.max_file_bytes,
        decode=settings.decode,
        limits=Limits(settings.data_dir.absolute() / "compiled", None if settings.gpu_memory_mb is None else settings.gpu_memory_mb * 1_000_000),
        triton_urls=settings.triton_urls,
        triton_shm=settings.triton_shm,
        backend_wait_s=backend_wait_s,
    )
