"""The only reader of the environment. Read once at the edge, frozen, passed down in single values."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import platformdirs
from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kizu_fast.domain import ALL, LIBRARY_OWNER, Operation
from kizu_fast.errors import ConfigError
from kizu_fast.models.captioners import CAPTIONERS, UNSERVED_CAPTIONERS

BackendName = Literal["cpu", "cuda", "tensorrt", "coreml", "openvino", "triton", "fake"]

# Read by `make`, not by the program; and the prefix that acceptance harnesses around a checkout use for themselves.
_SETUP_ONLY = frozenset({"KIZU_ENVIRONMENTS"})
_RESERVED_PREFIX = "KIZU_ACCEPT"


class Settings(BaseSettings):
    """Every setting, with the default that a laptop wants. The README explains each."""

    model_config = SettingsConfigDict(frozen=True, env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    # the seed's variables: name, meaning and default are kept
    supabase_url: str | None = None
    supabase_anon_key: SecretStr | None = None
    supabase_service_role_key: SecretStr | None = None
    model_cache_dir: Path = Path("./model_cache")
    clip_model: str = "ViT-B-32"
    clip_pretrained: str = "openai"
    yolo_size: Literal["n", "s", "m", "l", "x"] = "m"
    face_model_name: str = "buffalo_l"
    face_threshold: float = Field(default=0.6, ge=0, le=1)
    max_image_size: int = Field(default=2048, ge=64)
    batch_size: int = Field(default=8, ge=1, le=512)
    api_host: str = "0.0.0.0"  # noqa: S104  # the seed's default; the compose file publishes it on loopback only
    api_port: int = Field(default=8000, ge=1, le=65535)
    debug: bool = False
    allow_external_apis: bool = False
    redis_url: SecretStr | None = None

    # new ones
    database_url: SecretStr | None = None
    library_root: str | None = None
    data_dir: Path = Field(default=Path(platformdirs.user_data_dir("kizu_fast")), validation_alias="KIZU_DATA_DIR")
    model_repository: Path = Field(default=Path("./model_repository"), validation_alias="KIZU_MODEL_REPOSITORY")
    backend: BackendName = Field(default="cpu", validation_alias="KIZU_BACKEND")
    allow_random: bool = Field(default=False, validation_alias="KIZU_ALLOW_RANDOM")
    user: UUID = Field(default=LIBRARY_OWNER, validation_alias="KIZU_USER")
    operations: Annotated[tuple[Operation, ...], NoDecode] = Field(default=ALL, validation_alias="KIZU_OPERATIONS")
    lease_s: float = Field(default=120, ge=3, le=86400, validation_alias="KIZU_LEASE_S")
    max_pixels: int = Field(default=128_000_000, ge=1, validation_alias="KIZU_MAX_PIXELS")
    max_file_bytes: int = Field(default=268_435_456, ge=1, validation_alias="KIZU_MAX_FILE_BYTES")
    db_pooler: Literal["auto", "direct", "session", "transaction"] = Field(default="auto", validation_alias="KIZU_DB_POOLER")
    pg_user: str = Field(default="nobody", validation_alias="KIZU_PG_USER")
    decode: Literal["scaled", "exact", "gpu"] = Field(default="scaled", validation_alias="KIZU_DECODE")
    metrics_port: int | None = Field(default=None, ge=1, le=65535, validation_alias="KIZU_METRICS_PORT")
    metrics_host: str = Field(default="127.0.0.1", validation_alias="KIZU_METRICS_HOST")
    gpu_memory_mb: int | None = Field(default=None, ge=256, validation_alias="KIZU_GPU_MEMORY_MB")
    object_min_score: float = Field(default=0.25, ge=0, le=1)
    ocr_model: Literal["easyocr", "ppocr"] = "ppocr"  # docs/decisions/021-default-reader.md
    ocr_languages: str = "en"
    describe_model: str = "florence2"
    describe_detail: str = "caption"
    triton_urls: str = "127.0.0.1:8001"
    triton_shm: Literal["auto", "on", "off"] = Field(default="auto", validation_alias="KIZU_TRITON_SHM")

    @field_validator("operations", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parse_operations(value) if isinstance(value, str) else value

    @field_validator("describe_model")
    @classmethod
    def _is_served(cls, value: str) -> str:
        if value in UNSERVED_CAPTIONERS:
            raise ValueError(UNSERVED_CAPTIONERS[value])
        if value not in CAPTIONERS:
            raise ValueError(f"unknown captioner; it is one of {', '.join(CAPTIONERS)}")
        return value

    @field_validator("describe_detail")
    @classmethod
    def _is_known_to_the_captioner(cls, value: str, info: ValidationInfo) -> str:
        model = str(info.data.get("describe_model"))  # not there when it was refused itself
        if model in CAPTIONERS and value not in CAPTIONERS[model].details:
            raise ValueError(f"{model} describes in these levels of detail: {', '.join(CAPTIONERS[model].details)}")
        return value

    @property
    def library_roots(self) -> tuple[Path, ...]:
        """LIBRARY_ROOT, split by the system's path separator. Empty when unset."""
        return tuple(Path(part) for part in (self.library_root or "").split(os.pathsep) if part)


def parse_operations(text: str) -> tuple[Operation, ...]:
    """'embedding,objects' or 'all' to operations, in the order of the enumeration. Raises ValueError naming the unknown word."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if "all" in words:
        return ALL
    unknown = [word for word in words if word not in set(map(str, Operation))]
    if unknown or not words:
        raise ValueError(f"unknown operation {(unknown or [text])[0]!r}; known are all, {', '.join(Operation)}")
    return tuple(operation for operation in Operation if operation in words)


def load_settings() -> Settings:
    """Environment, then .env of the working folder. Raises ConfigError in one line; a secret's value is never in it."""
    refuse_unknown([*os.environ, *dotenv_values(".env")])
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise ConfigError(f"{name.upper()}: {first['msg']}") from None


def refuse_unknown(names: Iterable[str]) -> None:
    """Raises ConfigError for a KIZU_ variable that nothing reads, with the nearest name that exists."""
    known = known_variables()
    for name in sorted(set(names)):
        if name.startswith("KIZU_") and name not in known and name not in _SETUP_ONLY and not name.startswith(_RESERVED_PREFIX):
            near = difflib.get_close_matches(name.removeprefix("KIZU_"), [k.removeprefix("KIZU_") for k in known], n=1, cutoff=0.5)
            match = next((k for k in sorted(known) if near and k.removeprefix("KIZU_") == near[0]), None)
            hint = f"; did you mean {match}?" if match else "; README lists every setting"
            raise ConfigError(f"unknown setting {name}{hint}")


def known_variables() -> frozenset[str]:
    """The names of all environment variables that Settings reads."""
    return frozenset(str(info.validation_alias or field.upper()) for field, info in Settings.model_fields.items())
