"""`kizu-fast`: one visible table of commands. Each module parses, calls and prints; nothing is decided here."""

import sys

import typer

from kizu_fast.cli import database, doctor, forget, ingest, models, reindex, search, show, status
from kizu_fast.worker.command import worker
from kizu_fast.worker.exits import exit_code
from kizu_fast.worker.logs import set_up_logs

app = typer.Typer(
    name="kizu-fast",
    help="Makes a photo library searchable on its owner's own hardware. Nothing leaves this machine.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _every_command() -> None:
    """Commands answer; only the worker tells what it is doing."""
    set_up_logs(debug=False, quiet=True)


app.command("doctor")(doctor.doctor)
app.command("ingest")(ingest.ingest)
app.command("worker")(worker)
app.command("status")(status.status)
app.command("show")(show.show)
app.command("reindex")(reindex.reindex)
app.command("search")(search.search)
app.command("forget")(forget.forget)
app.add_typer(models.app, name="models")
app.add_typer(database.app, name="db")


def run() -> None:
    """The console script."""
    sys.exit(exit_code(app))
