"""`kizu-fast models`: what is exported, what it costs, which space search reads."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kizu_fast.backends.repository import ModelRepository
from kizu_fast.cli.output import print_json, remark, table_console
from kizu_fast.cli.status import AsJson
from kizu_fast.errors import ConfigError
from kizu_fast.proof import Proof, prove
from kizu_fast.settings import Settings, load_settings
from kizu_fast.specs import Family
from kizu_fast.store import Space
from kizu_fast.worker.config import engine_config, models_of
from kizu_fast.worker.session import library_of

app = typer.Typer(no_args_is_help=True, help="Exported models: which there are, what they cost, and which space search reads.")

Repository = Annotated[Path | None, typer.Option(help="[default: KIZU_MODEL_REPOSITORY]")]
Names = Annotated[list[str] | None, typer.Argument(help="folders of the repository, as `models list` prints them [default: those in use]", metavar="[NAME]...")]
