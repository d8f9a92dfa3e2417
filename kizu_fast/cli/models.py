"""`kizu-fast models`: what was exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kizu_fast.backends.repository import ModelRepository
from kizu_fast.cli.output import print_json, remark, table_console
from kizu_fast.cli.status import AsJson
from kizu_fast.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Exported models.")


@app.callback()
def _group() -> None:
    """Keep `list` a sub-command while it is the only one."""


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    family: str
    source: str
    megabytes: float
    licence: str
    space: str | None


@app.command("list")
def list_models(as_json: AsJson = False, repository: Annotated[Path | None, typer.Option(help="[default: KIZU_MODEL_REPOSITORY]")] = None) -> None:
    """List the exported models with source, size and licence.

    Example: kizu-fast models list --json
    """
    found = ModelRepository(repository or load_settings().model_repository)
    models = [_model(found, name) for name in found.names()]
    if as_json:
        print_json({"models": [{name: getattr(model, name) for name in _Model.__slots__} for model in models]})
        return
    if not models:
        remark("no model is exported yet; run: make export")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "source", "MB", "licence", "vector space"):
        table.add_column(column, overflow="fold")
    for model in models:
        source = f"{model.source}: meaningless" if model.source == "random" else model.source
        table.add_row(model.name, source, f"{model.megabytes:.0f}", model.licence, model.space or "")
    table_console().print(table)


def _model(repository: ModelRepository, name: str) -> _Model:
    manifest = repository.manifest(name)
    megabytes = repository.path(name).stat().st_size / 1e6
    return _Model(name, manifest.spec.family.value, manifest.source, round(megabytes, 1), manifest.licence or "not stated", manifest.spec.space)
