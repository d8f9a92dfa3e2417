"""What a suite is given: how many rounds, how large, where to work, and where to put its figures."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psutil

from benchmarks.figures import Figure, Skipped
from benchmarks.machine import Meter, own_cpu_s
from benchmarks.workspace import Workspace, open_workspace
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.lanes import available_cores
from kizu_fast.settings import Settings
from kizu_fast.specs import clip_name, yolo_name


@dataclass(slots=True)
class Bench:
    """One run. rounds: None lets each suite choose."""

    settings: Settings
    smoke: bool = False
    rounds: int | None = None
    figures: list[Figure] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    started: list[psutil.Process] = field(default_factory=list)  # servers that a suite has started: their work is ours
    _workspace: Workspace | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def times(self, default: int) -> int:
        """How many rounds to run."""
        return self.rounds or (1 if self.smoke else default)

    def meter(self) -> Meter:
        """What others take from now on; this process, its database server and those in started are ours."""
        server = self._workspace.postmaster if self._workspace else None
        return Meter(lambda: own_cpu_s([*([server] if server else []), *self.started]))

    async def workspace(self) -> Workspace:
        """One for the whole run, opened at first use."""
        if self._workspace is None:
            self.say("starting a database of its own")
            self._workspace = await self._stack.enter_async_context(open_workspace(self.settings.pg_user))
        return self._workspace

    def record(self, figure: Figure) -> None:
        self.figures.append(figure)
        self.say(f"{figure.suite}: {figure.name}: {figure.median:.4g} {figure.unit}")

    def skip(self, suite: str, name: str, reason: str) -> None:
        self.skipped.append(Skipped(suite, name, reason))
        self.say(f"{suite}: {name}: not measured: {reason}")

    @staticmethod
    def say(text: str) -> None:
        """Progress, on standard error."""
        sys.stderr.write(f"bench: {text}\n")
        sys.stderr.flush()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Bench"]:
        """The workspace, if one was opened, goes at the end."""
        async with self._stack:
            yield self

    @property
    def lanes(self) -> int:
        """Cores that this process may use, as the engine counts them."""
        return available_cores()

    # ---------------------------------------------------------------- models on disk
    @property
    def repository(self) -> ModelRepository:
        return ModelRepository(self.settings.model_repository)

    def has_clip(self) -> bool:
        """The configured CLIP image tower, or its twin with random weights: time is the same."""
        return any(self.repository.has(clip_name(self.settings.clip_model, tag, "image")) for tag in (self.settings.clip_pretrained, "random"))

    def has_yolo(self, size: str) -> bool:
        return any(self.repository.has(yolo_name(size, random=random)) for random in (False, True))
