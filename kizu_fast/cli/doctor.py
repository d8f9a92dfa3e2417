"""`kizu-fast doctor`: what is configured, what really runs, what is missing and the command that mends it."""

import asyncio
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from typing import Annotated, get_args

import typer
from rich.markup import escape
from rich.table import Table

from kizu_fast.backends import Running
from kizu_fast.cli.output import print_json, remark, table_console
from kizu_fast.engine import open_engine
from kizu_fast.errors import ConfigError, KizuError
from kizu_fast.gpu_decode import open_gpu_jpeg
from kizu_fast.settings import BackendName, Settings, load_settings
from kizu_fast.survey import survey
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.reruns import wanted_reruns
from kizu_fast.worker.session import library_of

LOW_DISK_GB = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the answer. fix: the command or setting that mends it, None if nothing is to be mended."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None


def doctor(
    backend: Annotated[str | None, typer.Option(help=f"check this one instead of KIZU_BACKEND: {', '.join(get_args(BackendName))}")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """Say what is configured, what really runs (proved by an inference), what is missing and the command that mends it.

    Exit 1 if photos cannot be processed.

    Example: kizu-fast doctor --backend cuda
    """
    settings = load_settings()
    if backend is not None:
        if backend not in get_args(BackendName):
            raise typer.BadParameter(f"{backend!r} is none of {', '.join(get_args(BackendName))}", param_hint="--backend")
        settings = settings.model_copy(update={"backend": backend})
    checks = asyncio.run(examine(settings))
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        _show(checks)
    if not ok:
        for check in checks:
            if not check.ok:
                remark(f"{check.name}: {check.detail}" + (f"; mend it with: {check.fix}" if check.fix else ""))
        raise typer.Exit(1)


async def examine(settings: Settings) -> list[Check]:
    """All checks, each on its own: one that fails hides no other."""
    checks = [_machine(), _disk(settings), *_settings(settings)]
    checks += await asyncio.to_thread(_decode, settings)
    checks += await _models(settings.model_copy(update={"decode": "scaled"}))  # what decodes has its own line
    checks += await _database(settings)
    return checks


def _machine() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check(
        "machine", ok=True, detail=f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {cores} cores for this process"
    )


def _disk(settings: Settings) -> Check:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    detail = f"{settings.data_dir.absolute()}: {free_gb:.1f} GB free"
    return Check(
        "disk",
        free_gb >= LOW_DISK_GB,
        detail,
        None if free_gb >= LOW_DISK_GB else "free some space, or set KIZU_DATA_DIR to a folder on a larger disk",
    )


def _settings(settings: Settings) -> list[Check]:
    roots = ", ".join(map(str, settings.library_roots)) or "not set: the folders given to `kizu-fast ingest`"
    operations = ", ".join(settings.operations)
    checks = [Check("settings", ok=True, detail=f"backend {settings.backend}, operations {operations}, LIBRARY_ROOT {roots}")]
    missing = [str(root) for root in settings.library_roots if not root.is_dir()]
    if missing:
        checks.append(Check("library", ok=False, detail=f"{', '.join(missing)} is no folder here", fix="mount the drive, or set LIBRARY_ROOT"))
    if settings.redis_url is not None:
        checks.append(Check("redis", ok=True, detail="REDIS_URL is set and not used: the queue is in PostgreSQL"))
    return checks


def _decode(settings: Settings) -> list[Check]:
    """Whether the GPU that is to decode does, proved by a picture."""
    if settings.decode != "gpu":
        return []
    try:
        open_gpu_jpeg()
    except ConfigError as error:
        return [Check("decode", ok=False, detail=str(error), fix="KIZU_DECODE=scaled kizu-fast doctor")]
    return [Check("decode", ok=True, detail="JPEG by NVIDIA DALI on the GPU, scaled there")]


async def _models(settings: Settings) -> list[Check]:
    """Load what the operations need and the text tower, and let each run once."""
    try:
        async with open_engine(engine_config(settings, tuple(settings.operations))) as engine:
            await engine.embed_text("a photo")
            checks = [Check(f"model {name}", ok=True, detail=_told(run)) for name, run in sorted(engine.running().items())]
            if engine.random_models:
                names = ", ".join(engine.random_models)
                detail = f"{names}: seeded random weights, their results mean nothing"
                checks.append(Check("weights", ok=True, detail=detail, fix="make export WEIGHTS=dir, or make export where the internet is reachable"))
            checks += [
                Check(f"operation {name}", ok=True, detail=f"not available: {why}", fix=_command_in(why)) for name, why in engine.unavailable.items()
            ]
            return checks
    except KizuError as error:
        return [Check("models", ok=False, detail=str(error), fix=_mend_models(settings))]


def _command_in(reason: str) -> str:
    """The reason ends with what mends it."""
    return reason.rpartition("run: ")[2] if "run: " in reason else "make export"


def _told(run: Running) -> str:
    """What runs a model, and what of it runs elsewhere. A server's threads are its own business: 0."""
    threads = f", {run.threads} thread(s) per inference" if run.threads else ""
    return f"{run.provider} on {run.device}, {run.precision}{threads}" + (f"; {run.note}" if run.note else "")


def _mend_models(settings: Settings) -> str:
    if settings.backend == "triton":
        return "start Triton on the model repository, or set TRITON_URLS to where it is; without a server: kizu-fast doctor --backend cpu"
    return "make export" if settings.backend == "cpu" else "kizu-fast doctor --backend cpu"


async def _database(settings: Settings) -> list[Check]:
    where = "DATABASE_URL" if settings.database_url else f"embedded, under {settings.data_dir.absolute()}"
    try:
        async with library_of(settings) as library:
            server, pgvector = await library.versions()
            reruns = await wanted_reruns(library.coverage, survey(engine_config(settings, settings.operations)), settings, settings.user)
    except KizuError as error:
        fix = "check DATABASE_URL" if settings.database_url else "pip install 'kizu-fast[embedded]', or set DATABASE_URL"
        return [Check("database", ok=False, detail=f"{where}: {error}", fix=fix)]
    found = Check("database", ok=True, detail=f"{where}: PostgreSQL {server}, pgvector {pgvector}")
    return [found, *(Check(f"re-run of {rerun.operation}", ok=True, detail=str(rerun), fix=rerun.command) for rerun in reruns)]


def _show(checks: list[Check]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "check", "what is"):
        table.add_column(column, overflow="fold")
    for check in checks:
        table.add_row("ok" if check.ok else "NO", check.name, escape(check.detail + (f"; mend it with: {check.fix}" if check.fix else "")))
    table_console().print(table)
