"""`kizu-fast models`: which are there, what each costs, which vector space search reads."""

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.catalogue import models_in_use
from kizu_fast.cli.output import print_json, remark, table_console
from kizu_fast.cli.status import AsJson
from kizu_fast.engine import EngineConfig, stock_of
from kizu_fast.errors import ConfigError
from kizu_fast.proof import Proof, prove
from kizu_fast.settings import Settings, load_settings
from kizu_fast.specs import Family
from kizu_fast.worker.config import engine_config
from kizu_fast.worker.session import library_of

app = typer.Typer(no_args_is_help=True, help="Exported models: which are there, what each costs, which vector space search reads.")

Repository = Annotated[Path | None, typer.Option(help="[default: KIZU_MODEL_REPOSITORY]")]
Names = Annotated[
    list[str] | None, typer.Argument(help="as `models list` prints them [default: those in use]", metavar="[NAME]...", show_default=False)
]

IN_USE, EXPORTED, MISSING, BROKEN = "in use", "exported", "missing", "broken"


@dataclass(frozen=True, slots=True)
class _Model:
    """state: in use (the settings mean it), exported, missing (meant, not there), broken (its manifest cannot be read). What is not known is None."""

    name: str
    state: str
    family: str | None = None
    source: str | None = None  # official | folder | random
    original: str | None = None
    megabytes: float | None = None  # 10^6 bytes on disk, all files of its folder
    licence: str | None = None
    space: str | None = None


@app.command("list")
def list_models(as_json: AsJson = False, repository: Repository = None) -> None:
    """List the models that are exported or meant by the settings, with state, source, size and licence.

    Example: kizu-fast models list --json
    """
    config = _config(repository)
    found, meant = ModelRepository(config.model_repository), models_in_use(stock_of(config), config.operations)
    models = [_model(found, name, IN_USE if name in meant else EXPORTED) for name in found.names()]
    models += [_Model(name, MISSING) for name in meant if not found.has(name)]
    if as_json:
        print_json({"models": [asdict(model) for model in models]})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "state", "source", "MB", "licence", "vector space"):
        table.add_column(column, overflow="fold")
    for model in models:
        source = f"{model.source}: meaningless" if model.source == "random" else model.source or ""
        size = "" if model.megabytes is None else f"{model.megabytes:.0f}"
        table.add_row(model.name, model.state, source, size, escape(model.licence or ""), escape(model.space or ""))
    table_console().print(table)
    missing = [model.name for model in models if model.state == MISSING]
    if missing:
        remark(f"missing models come with: {export_command(','.join(missing))}")


@app.command("load")
def load(names: Names = None, as_json: AsJson = False, repository: Repository = None) -> None:
    """Prove that models load and run here: open each, let it answer once, say what really ran, how long it took and how much memory; then free it.

    Nothing stays loaded when this command ends. Workers and searches load what they need by themselves; a long-living process is what
    a load would be kept in.

    Example: kizu-fast models load yolov8m
    """
    _print(_proofs(names, repository), as_json=as_json)


@app.command("unload")
def unload(names: Names = None, as_json: AsJson = False, repository: Repository = None) -> None:
    """Prove that unloading gives memory back: load each model, unload it, and print this process' memory before, with and without it.

    Exit 1 if less than half of it came back. No other process is touched: a worker frees its models when it ends.

    Example: kizu-fast models unload clip-vit-b-32-openai-image
    """
    proofs = _proofs(names, repository)
    _print(proofs, as_json=as_json)
    kept = [proof.name for proof in proofs if proof.returns_mb < proof.takes_mb / 2]
    if kept:
        raise ConfigError(f"memory of {', '.join(kept)} did not come back")


@app.command("switch")
def switch(space: Annotated[str, typer.Argument(help="a vector space, as `models list` prints it")], as_json: AsJson = False) -> None:
    """Let search read another vector space, if every photo is in it. Workers do so by themselves for the models of the settings.

    Example: kizu-fast models switch open_clip/ViT-B-32/openai/p1/40d36571
    """
    settings = load_settings()
    _text_tower(settings, space)
    before = asyncio.run(_switch(settings, space))
    if as_json:
        print_json({"space": space, "before": before})
    else:
        remark(f"search reads {space}" + (f", before {before}" if before not in (None, space) else ""))


def _config(repository: Path | None) -> EngineConfig:
    settings = load_settings()
    if repository is not None:
        settings = settings.model_copy(update={"model_repository": repository})
    return engine_config(settings, tuple(settings.operations))


def _model(repository: ModelRepository, name: str, state: str) -> _Model:
    try:
        manifest, folder = repository.manifest(name), repository.root / name
    except ConfigError as error:
        remark(str(error))
        return _Model(name, BROKEN)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    licence = manifest.licence or "not stated"
    return _Model(name, state, manifest.spec.family.value, manifest.source, manifest.original, round(size, 1), licence, manifest.spec.space)


def _proofs(names: list[str] | None, repository: Path | None) -> list[Proof]:
    config = _config(repository)
    return asyncio.run(prove(config, names or models_in_use(stock_of(config), config.operations)))


def _print(proofs: list[Proof], *, as_json: bool) -> None:
    if as_json:
        print_json({"models": [_document(proof) for proof in proofs]})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "runs on", "seconds", "memory MB: before", "loaded", "unloaded"):
        table.add_column(column, overflow="fold")
    for proof in proofs:
        running = f"{proof.running.provider} on {proof.running.device}, {proof.running.precision}"
        memory = (f"{number:.0f}" for number in (proof.before_mb, proof.loaded_mb, proof.freed_mb))
        table.add_row(proof.name, running, f"{proof.seconds:.2f}", *memory)
    table_console().print(table)


def _document(proof: Proof) -> dict[str, object]:
    memory = {"before_mb": proof.before_mb, "loaded_mb": proof.loaded_mb, "unloaded_mb": proof.freed_mb}
    return {"name": proof.name, **asdict(proof.running), "seconds": round(proof.seconds, 3), **{key: round(mb, 1) for key, mb in memory.items()}}


def _text_tower(settings: Settings, space: str) -> None:
    if ModelRepository(settings.model_repository).find_space(space, Family.CLIP_TEXT) is None:
        raise ConfigError(
            f"no text model of the vector space {space} is in {settings.model_repository}: search could not ask it; see: kizu-fast models list"
        )


async def _switch(settings: Settings, space: str) -> str | None:
    async with library_of(settings) as library:
        before = await library.spaces.active_space()
        if not await library.spaces.activate_if_whole(space):
            stays = before.name if before is not None else "no space"
            raise ConfigError(
                f"{space} does not hold every photo, search stays with {stays}; run: kizu-fast worker --drain, with CLIP_MODEL and CLIP_PRETRAINED of it"
            )
        return before.name if before is not None else None
