"""Triton servers: one connection each, who is up, who has least to do. Every call raises Refusal or nothing."""

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from kizu_fast.backends.triton_errors import Refusal, Verdict, classify
from kizu_fast.backends.triton_memory import OFF, Mailbox, Mailboxes, may_share
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec, Tensors

log = structlog.get_logger()

T = TypeVar("T")

TYPES: Mapping[str, str] = {"uint8": "UINT8", "int32": "INT32", "float16": "FP16", "float32": "FP32"}  # of a TensorSpec to Triton's
CONTROL_S = 5.0  # deadline of a question that computes nothing
LOAD_S = 120.0  # deadline of loading a model, engine builds left out: those belong to the server's start
_UNLOAD_LOOK_S = 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_LARGEST_MESSAGE = 2**31 - 1
# gRPC waits up to two minutes before it dials a lost server again; its own pings would be counted as an attack by the server.
_CHANNEL = [
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
]


class Server:
    """One address (host:port of gRPC) and what is known of it."""

    def __init__(self, url: str, sharing: str = OFF) -> None:
        """sharing: off, auto or on (triton_memory)."""
        self.url = url
        self.in_flight = 0
        self.proved: dict[str, float] = {}  # models that answered a real inference since the server was last lost: seconds that it took
        self.care: dict[str, asyncio.Lock] = {}  # by model: who proves, loads or mends it
        self.version = "?"
        self._client = _library().InferenceServerClient(url, channel_args=_CHANNEL)
        self._boxes = Mailboxes()
        self._sharing = may_share(url, sharing)
        self._epoch = 0  # counts the servers that were behind the address
        self._pause_s, self._down_until = _FIRST_PAUSE_S, 0.0
        self._down = False

    @property
    def rests_s(self) -> float:
        """Seconds until it is worth another try; 0 while it is up."""
        return max(0.0, self._down_until - asyncio.get_running_loop().time()) if self._down else 0.0

    @property
    def down(self) -> bool:
        return self._down

    def lost(self, reason: str) -> None:
        """It did not answer: leave it alone for a while, longer every time. Whatever comes back may be another server: nothing is proved of it."""
        if not self._down:
            log.warning("Triton lost", url=self.url, reason=reason)
        self._down = True
        self._down_until = asyncio.get_running_loop().time() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self.replaced()

    def replaced(self) -> None:
        """Another process is behind the address: nothing is proved of it, and it does not know our memory."""
        self.proved.clear()
        self._epoch += 1

    def answered(self) -> None:
        """It is there."""
        if self._down:
            log.info("Triton is back", url=self.url)
        self._down, self._pause_s = False, _FIRST_PAUSE_S

    async def infer(self, spec: ModelSpec, inputs: Tensors, deadline_s: float) -> dict[str, NDArray[np.generic]]:
        """One batch in, the outputs of the spec out, as the server gave them: nothing is checked."""
        triton = _library()
        tensors = {tensor.name: triton.InferInput(tensor.name, inputs[tensor.name].shape, TYPES[tensor.dtype]) for tensor in spec.inputs}
        wanted = [triton.InferRequestedOutput(tensor.name) for tensor in spec.outputs]
        box = await self._mailbox(inputs)

        async def send() -> Any:
            places = box.fill(inputs) if box else {}
            for name, tensor in tensors.items():
                if box:
                    tensor.set_shared_memory(box.name, *places[name])
                else:
                    tensor.set_data_from_numpy(np.ascontiguousarray(inputs[name]))
            return await self._client.infer(spec.name, list(tensors.values()), outputs=wanted, client_timeout=deadline_s)

        self.in_flight += 1
        try:
            reply = await self._ask(send)
        finally:
            self.in_flight -= 1
            if box:
                self._boxes.give_back(box)
        # Copies: a view would keep the whole message alive, and cannot be written to.
        return {tensor.name: np.array(reply.as_numpy(tensor.name)) for tensor in spec.outputs}

    async def is_ready(self, model: str) -> bool:
        """Whether the server says so. A model whose process died is still ready: only an inference proves it."""
        return bool(await self._ask(lambda: self._client.is_model_ready(model, client_timeout=CONTROL_S)))

    async def config(self, model: str) -> Any:
        """The model's configuration as it is served (inference.ModelConfig)."""
        return (await self._ask(lambda: self._client.get_model_config(model, client_timeout=CONTROL_S))).config

    async def identify(self) -> None:
        """Learn the server's version."""
        self.version = str((await self._ask(lambda: self._client.get_server_metadata(client_timeout=CONTROL_S))).version)

    async def load(self, model: str) -> None:
        """Ask for the model; nothing happens when it is loaded. Refused where the server loads by itself (model control mode none, poll)."""
        await self._ask(lambda: self._client.load_model(model, client_timeout=LOAD_S))

    async def unload(self, model: str) -> None:
        """Refused as load() is. Returns once it is no longer ready: loading before that does nothing.

        It need not be gone: a request that a dead process never answers keeps its old instance for ever, beside the new one.
        """
        self.proved.pop(model, None)
        await self._ask(lambda: self._client.unload_model(model, client_timeout=LOAD_S))
        for _ in range(round(LOAD_S / _UNLOAD_LOOK_S)):
            if not await self.is_ready(model):
                return
            await asyncio.sleep(_UNLOAD_LOOK_S)

    async def close(self) -> None:
        """End the connection; the server lets go of our shared memory, if it is still there."""
        for box in self._boxes.all:
            with suppress(Refusal):
                await self._unshare(box)
        self._boxes.destroy()
        await self._client.close()

    async def _mailbox(self, inputs: Tensors) -> Mailbox | None:
        """A region that this server knows. None: send the bytes. A server that cannot see our memory is not asked again."""
        if not self._sharing:
            return None
        try:
            box = self._boxes.take(inputs)
        except OSError as error:
            self._stop_sharing(str(error))
            return None
        if box.epoch == self._epoch:
            return box
        try:
            await self._unshare(box)
            await self._ask(lambda: self._client.register_system_shared_memory(box.name, box.key, box.size, client_timeout=CONTROL_S))
        except Refusal as refusal:
            self._boxes.give_back(box)
            if refusal.verdict in (Verdict.GONE, Verdict.LATE):
                raise
            self._stop_sharing(refusal.said)
            return None
        box.epoch = self._epoch
        return box

    def _stop_sharing(self, reason: str) -> None:
        log.info("no shared memory with Triton, bytes go through gRPC", url=self.url, reason=reason)
        self._sharing = False

    async def _unshare(self, box: Mailbox) -> None:
        """The server forgets a region; one that it does not know is no error."""
        await self._ask(lambda: self._client.unregister_system_shared_memory(box.name, client_timeout=CONTROL_S))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """One call of the client. Its exceptions become a Refusal."""
        try:
            answer = await call()
        except _failure() as error:
            raise Refusal(classify(error.status(), error.message()), error.message()) from error
        except TimeoutError as error:
            raise Refusal(Verdict.LATE, "no answer within the deadline") from error
        self.answered()
        return answer


class Servers:
    """All addresses of TRITON_URLS. Requests go to whoever is up and has least to do."""

    def __init__(self, urls: Sequence[str], sharing: str = OFF) -> None:
        if not urls:
            raise ConfigError("TRITON_URLS is empty; set it to host:port of Triton's gRPC, e.g. 127.0.0.1:8001")
        self.all = [Server(url, sharing) for url in urls]

    def choose(self, avoided: Sequence[Server] = ()) -> Server:
        """The best one now. When all are down, the one that has rested longest: asking it costs a millisecond."""
        return min(self.all, key=lambda server: (server in avoided, server.rests_s > 0, server.down, server.rests_s, server.in_flight))

    @property
    def text(self) -> str:
        return ", ".join(server.url for server in self.all)

    async def close(self) -> None:
        """End all connections."""
        for server in self.all:
            await server.close()


def addresses(text: str) -> tuple[str, ...]:
    """TRITON_URLS, a comma list, to host:port each. Raises ConfigError naming what is none."""
    urls = tuple(part.strip().removeprefix("grpc://") for part in text.split(",") if part.strip())
    for url in urls:
        host, colon, port = url.rpartition(":")
        if not (host and colon and port.isdecimal()) or "/" in url:
            raise ConfigError(f"TRITON_URLS: {url!r} is not host:port of Triton's gRPC, e.g. 127.0.0.1:8001")
    return urls


def _library() -> ModuleType:
    """Imported at first use: only the Triton backend needs it."""
    os.putenv("GRPC_VERBOSITY", "NONE")  # its C core writes lines of its own beside the progress bar
    try:
        return importlib.import_module("tritonclient.grpc.aio")
    except ImportError as error:
        raise ConfigError("tritonclient is not installed; run: pip install 'kizu-fast[triton]'") from error


def _failure() -> type[Any]:
    failure: type[Any] = importlib.import_module("tritonclient.utils").InferenceServerException
    return failure
