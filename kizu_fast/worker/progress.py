"""What a person sees of a run: a progress bar on a terminal, structured log lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from kizu_fast.worker.report import Tally

log = structlog.get_logger()

_LINE_EVERY_S = 10.0


class _Rate(ProgressColumn):
    """Photos per second since the start."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} photos/s")


class ProgressView:
    """Shows a tally. total() is asked now and then for the photos that are still to do."""

    def __init__(self, tally: Tally, *, interactive: bool | None = None, console: Console | None = None) -> None:
        self._tally = tally
        self._console = console or Console(stderr=True)
        shown = sys.stderr.isatty() if interactive is None else interactive
        self._bar = _bar(self._console) if shown else None
        self._task = self._bar.add_task("photos", total=None, failed=0) if self._bar else None
        self._next_line = time.monotonic() + _LINE_EVERY_S

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, left: int | None) -> None:
        """left: photos pending or in process, None if unknown."""
        done = self._tally.completed + self._tally.failed
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, failed=self._tally.failed, total=None if left is None else done + left)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY_S
            seconds = time.monotonic() - self._tally.started
            rate = done / seconds if seconds else 0.0
            eta = round(left / rate) if left is not None and rate else None
            log.info("progress", done=done, failed=self._tally.failed, left=left, photos_per_second=round(rate, 2), eta_s=eta)

    @property
    def print_above(self) -> Callable[[str], None]:
        """Prints a line above the bar, whole; what a photo's failure says."""
        return lambda line: self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.completed} done, {task.fields[failed]} failed"), BarColumn(), _Rate(), TextColumn("ETA"), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=False)
