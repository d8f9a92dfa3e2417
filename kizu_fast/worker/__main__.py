"""`python -m kizu_fast.worker` is `kizu-fast worker`."""

import typer

from kizu_fast.worker.command import worker
from kizu_fast.worker.exits import exit_code

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
app.command()(worker)

if __name__ == "__main__":
    raise SystemExit(exit_code(app))
