"""Triton over gRPC: full batches of uint8 out, the few outputs back, through whatever happens to the servers meanwhile.

A server that is gone, late or without the model costs no photo an attempt (BackendUnavailable); a full queue lowers the number of batches under
way; a batch that a model fails over is halved by the batcher until the photo at fault stands alone.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from kizu_fast.backends import Profile, Running
from kizu_fast.backends.triton_checks import compare, flaw, grey, instance
from kizu_fast.backends.triton_errors import Refusal, Verdict
from kizu_fast.backends.triton_servers import Server, Servers
from kizu_fast.errors import BackendUnavailable, ConfigError, KizuError, PermanentError, TransientError
from kizu_fast.specs import ModelSpec, Tensors

log = structlog.get_logger()

BATCHES = 3  # under way per model: one computes, one waits in the server, one is on the wire
_DEADLINE_S, _LONGEST_DEADLINE_S = 20.0, 600.0  # of a batch; slow models get more
_SLOWER = 4  # times what was seen, before an answer counts as late
_EASE_S = 10.0  # how long load() waits for room in a full queue
_BACK_OFF_S, _LONGEST_BACK_OFF_S = 0.05, 2.0
_PATIENCE_S = 120.0  # with full queues: then the photos go back, unspent
_BROKEN_S = 60.0  # how long a model that answers nonsense counts as an outage before its photos spend attempts
_AGAIN_S = 0.2


class Pace:
    """How many batches of one model are under way: half as many when a queue is full, slowly more again."""

    def __init__(self, most: int) -> None:
        self._most, self.limit = most, float(most)
        self._running = 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < max(1, int(self.limit)))
            self._running += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def narrow(self) -> None:
        """The server has more than it can do."""
        self.limit = max(1.0, self.limit / 2)

    def widen(self) -> None:
        """A batch came through: a whole batch more after as many as are under way."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)


class _Overloaded(BackendUnavailable):
    """Alive, with a full queue."""


@dataclass(slots=True)
class _Model:
    """A loaded model, on whatever servers."""

    spec: ModelSpec
    pace: Pace
    max_batch: int
    deadline_s: float = _DEADLINE_S
    running: Running | None = None
    broken_since: float | None = None

    def saw(self, seconds: float) -> None:
        """A batch was answered: the deadline follows the slowest of late."""
        self.deadline_s = min(max(_DEADLINE_S, 0.9 * self.deadline_s, _SLOWER * seconds), _LONGEST_DEADLINE_S)

    def waited_in_vain(self) -> None:
        """Perhaps the server is only slower than it was: a deadline that never grew would throw away work for ever."""
        self.deadline_s = min(2 * self.deadline_s, _LONGEST_DEADLINE_S)


@dataclass(slots=True)
class _Try:
    """One batch's way through the servers."""

    model: _Model
    inputs: Tensors
    until: float  # loop time at which patience with full queues ends
    refused: list[tuple[Server, Verdict]] = field(default_factory=list)
    back_off_s: float = _BACK_OFF_S

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def is_suspect(self) -> bool:
        """A single row over which the model has failed: perhaps because of a row that the server joined with it."""
        return self.rows == 1 and self.times(Verdict.FAULT) + self.times(Verdict.NONSENSE) > 0

    def times(self, verdict: Verdict) -> int:
        return sum(1 for _, had in self.refused if had is verdict)


class TritonBackend:
    """One or several Triton servers that hold the same models. Belongs to the loop that uses it."""

    def __init__(self, urls: Sequence[str], *, sharing: str = "auto", wait_s: float = 0.0) -> None:
        """urls: host:port of gRPC. sharing: system shared memory, auto | on | off. wait_s: how long load() waits for a first server.

        Raises ConfigError when tritonclient is not installed.
        """
        self.profile = Profile(lanes=BATCHES, full_batches=True, in_lanes=False, per_model=True)
        self._servers = Servers(urls, sharing)
        self._wait_s = wait_s
        self._models: dict[str, _Model] = {}

    # ---------------------------------------------------------------- models
    async def load(self, spec: ModelSpec) -> None:
        """Ready on at least one server: configuration compared, proved by an inference.

        Raises ConfigError when no server can run it as the spec says, BackendUnavailable when none answers.
        """
        if spec.name in self._models:
            return
        model = _Model(spec, Pace(BATCHES), spec.max_batch)
        loop = asyncio.get_running_loop()
        started = loop.time()
        until = started + self._wait_s
        while True:
            problems = [problem for server in self._servers.all if (problem := await self._problem(server, model))]
            if len(problems) < len(self._servers.all):
                self._models[spec.name] = model
                return
            patience = max(until, started + _EASE_S) if any(isinstance(problem, _Overloaded) for problem in problems) else until
            if any(isinstance(problem, ConfigError) for problem in problems) or loop.time() >= patience:
                raise next((problem for problem in problems if isinstance(problem, ConfigError)), problems[0])
            await asyncio.sleep(_AGAIN_S)

    async def _problem(self, server: Server, model: _Model) -> KizuError | None:
        """Why this server cannot run the model now, None if it can."""
        try:
            await self._prove(server, model)
        except Refusal as refusal:
            if refusal.verdict is Verdict.GONE or refusal.verdict is Verdict.LATE:
                server.lost(refusal.said)
                return BackendUnavailable(f"no Triton server answers at {server.url} ({refusal.said}); start it, or set TRITON_URLS")
            if refusal.verdict is Verdict.OVERLOADED:
                return _Overloaded(f"Triton at {server.url} has no room for {model.spec.name}: {refusal.said}")
            return ConfigError(f"model {model.spec.name} does not run on Triton at {server.url}: {refusal.said}")
        except ConfigError as error:
            return error
        return None

    async def unload(self, spec: ModelSpec) -> None:
        """Free the model on every server that lets us; a server that loads by itself keeps it. Unknown models are ignored."""
        if self._models.pop(spec.name, None) is None:
            return
        for server in self._servers.all:
            with suppress(Refusal):
                await server.unload(spec.name)

    async def close(self) -> None:
        """End the connections. Models stay loaded: other workers use them."""
        self._models.clear()
        await self._servers.close()

    def describe(self, spec: ModelSpec) -> Running:
        """Raises ConfigError if it is not loaded."""
        model = self._models.get(spec.name)
        if model is None or model.running is None:
            raise ConfigError(f"{spec.name} is not loaded")
        there = ", ".join(server.url for server in self._servers.all if spec.name in server.proved)
        return Running(model.running.provider, there or "no server at the moment", model.running.precision, model.running.threads)

    # ---------------------------------------------------------------- batches
    async def infer(self, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        """Raises PermanentError when a single row is at fault (or one of the batch), BackendUnavailable for any outage, TransientError else."""
        model = self._models.get(spec.name)
        if model is None:
            raise TransientError(f"{spec.name}: not loaded")
        rows = len(next(iter(inputs.values())))
        parts = [
            await self._batch(model, spec, {name: batch[start : start + model.max_batch] for name, batch in inputs.items()})
            for start in range(0, rows, model.max_batch)
        ]
        return parts[0] if len(parts) == 1 else {tensor.name: np.concatenate([part[tensor.name] for part in parts]) for tensor in spec.outputs}

    async def _batch(self, model: _Model, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        attempt = _Try(model, inputs, asyncio.get_running_loop().time() + _PATIENCE_S)
        async with model.pace:
            while True:
                late = [server for server, verdict in attempt.refused if verdict is not Verdict.OVERLOADED]
                server = self._servers.choose(late)
                try:
                    outputs = await (self._ask_alone if attempt.is_suspect else self._ask)(server, model, spec, inputs)
                except Refusal as refusal:
                    attempt.refused.append((server, refusal.verdict))
                    await self._react(server, attempt, refusal)
                    continue
                except ConfigError as error:  # it was another at the start: the operator's business, no photo's
                    attempt.refused.append((server, Verdict.NONSENSE))
                    self._broken(server, attempt, str(error))
                    continue
                model.pace.widen()
                model.broken_since = None
                return outputs

    async def _ask(self, server: Server, model: _Model, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        if model.spec.name not in server.proved:
            await self._prove(server, model)
        rows, loop = len(next(iter(inputs.values()))), asyncio.get_running_loop()
        started = loop.time()
        outputs = await server.infer(spec, inputs, model.deadline_s)
        model.saw(loop.time() - started)
        wrong = flaw(spec, outputs, rows)
        if wrong:
            raise Refusal(Verdict.NONSENSE, wrong)
        return outputs

    async def _ask_alone(self, server: Server, model: _Model, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        """One row as a full batch of itself: the server can join nothing with it, whoever else sends what."""
        full = {name: np.repeat(batch, model.max_batch, axis=0) for name, batch in inputs.items()}
        return {name: batch[:1] for name, batch in (await self._ask(server, model, spec, full)).items()}

    async def _react(self, server: Server, attempt: _Try, refusal: Refusal) -> None:
        """Returns when the batch is worth another try; raises what its rows are told otherwise."""
        name, said = attempt.model.spec.name, refusal.said
        match refusal.verdict:
            case Verdict.OVERLOADED:
                await self._ease(attempt, said)
            case Verdict.REFUSED:
                raise PermanentError(f"{name}: Triton refuses the request: {said}")
            case Verdict.FAULT | Verdict.NONSENSE:
                await self._suspect(server, attempt, refusal)
            case Verdict.UNSHARED if attempt.times(Verdict.UNSHARED) <= len(self._servers.all):
                server.replaced()
            case Verdict.MISSING if attempt.times(Verdict.MISSING) <= len(self._servers.all):
                server.proved.pop(name, None)  # the next try loads it
            case _:
                if refusal.verdict is Verdict.LATE:
                    attempt.model.waited_in_vain()
                await self._lost(server, attempt, said)

    async def _ease(self, attempt: _Try, said: str) -> None:
        """Back-pressure: fewer batches at once, and a pause that grows."""
        attempt.model.pace.narrow()
        if asyncio.get_running_loop().time() > attempt.until:
            raise BackendUnavailable(f"{attempt.model.spec.name}: Triton has been overloaded for {_PATIENCE_S:.0f} s: {said}")
        await asyncio.sleep(attempt.back_off_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not a secret
        attempt.back_off_s = min(2 * attempt.back_off_s, _LONGEST_BACK_OFF_S)

    async def _lost(self, server: Server, attempt: _Try, said: str) -> None:
        """Another server takes the batch if there is one that was not asked; a lone one is asked twice."""
        server.lost(said)
        if self._unasked(attempt):
            return
        if attempt.times(Verdict.GONE) == 1 and attempt.times(Verdict.LATE) == 0:
            await asyncio.sleep(_AGAIN_S)  # a server that is only restarting its connection costs no photo its place
            return
        raise BackendUnavailable(f"no Triton server answers at {self._servers.text}: {said}")

    async def _suspect(self, server: Server, attempt: _Try, refusal: Refusal) -> None:
        """The model failed over this batch. Asked for something harmless, it tells whether a row of the batch or the model itself is at fault."""
        model, said = attempt.model, refusal.said
        server.proved.pop(model.spec.name, None)
        try:
            await self._prove(server, model)
        except (Refusal, ConfigError) as error:
            self._broken(server, attempt, str(error))
            return
        if attempt.rows > 1 or attempt.times(Verdict.FAULT) + attempt.times(Verdict.NONSENSE) > 1:
            raise PermanentError(f"{model.spec.name}: the model fails over this photo: {said}")

    def _broken(self, server: Server, attempt: _Try, said: str) -> None:
        """The model itself is at fault on this server. Returns when there is another to ask; an outage for a while, then the photos' own attempts."""
        if self._unasked(attempt):
            return
        model, now = attempt.model, asyncio.get_running_loop().time()
        model.broken_since = now if model.broken_since is None else model.broken_since
        if now - model.broken_since > _BROKEN_S:
            raise TransientError(f"{model.spec.name}: Triton at {server.url} answers nonsense: {said}")
        raise BackendUnavailable(f"{model.spec.name} is broken on Triton at {server.url}: {said}")

    def _unasked(self, attempt: _Try) -> bool:
        """Whether a server that is up has not failed over this batch yet."""
        asked = {one.url for one, verdict in attempt.refused if verdict is not Verdict.OVERLOADED}
        return any(one.url not in asked and not one.down for one in self._servers.all)

    # ---------------------------------------------------------------- proof
    async def _prove(self, server: Server, model: _Model) -> None:
        """Loaded (or brought), configured as the spec says, and answering a real inference. Raises Refusal or ConfigError."""
        name = model.spec.name
        async with server.care.setdefault(name, asyncio.Lock()):
            if name in server.proved:
                return
            if not await server.is_ready(name):
                await server.load(name)
            config = await server.config(name)
            compare(model.spec, config, server.url)
            try:
                seconds = await self._answers(server, model)
            except Refusal as refusal:
                if refusal.verdict is not Verdict.FAULT:
                    raise
                log.warning("a model is broken on Triton and loaded again", model=name, url=server.url, reason=refusal.said)
                await server.unload(name)
                await server.load(name)
                seconds = await self._answers(server, model)
            await server.identify()
            model.max_batch = max(1, config.max_batch_size)
            model.saw(seconds)
            model.running = instance(config, server.version)
            server.proved[name] = seconds

    async def _answers(self, server: Server, model: _Model) -> float:
        """Seconds of one inference on grey. Raises Refusal, ConfigError for an answer that is none."""
        shaped = model.spec.at(model.spec.buckets[-1]) if model.spec.buckets else model.spec
        started = asyncio.get_running_loop().time()
        outputs = await server.infer(shaped, grey(shaped), 3 * _DEADLINE_S)
        wrong = flaw(shaped, outputs, 1)
        if wrong:
            raise ConfigError(f"{wrong} on Triton at {server.url}; run: python -m export --models {model.spec.name}, then restart Triton")
        return asyncio.get_running_loop().time() - started
