"""Files from the network: resumable, checked, with progress, and quick to say when there is no network."""

import hashlib
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from export.digests import digest
from kizu_fast.errors import ConfigError

CONNECT_S, READ_S = 5.0, 30.0
RESUMES = 3  # of a transfer that broke off after it had brought something


class Unreachable(ConfigError):
    """A file could not be fetched: the caller adds how to bring it otherwise."""


class NotThere(Unreachable):
    """The server answered that it has no such file."""


def how_to_bring(relative: str, *, random: bool = True) -> str:
    """The ways on without a network, for a file or folder at its place below a weights folder."""
    way = f"put it at DIR/{relative} and run: python -m export --weights DIR"
    return f"{way}; to try the pipeline without meaning: python -m export --weights random" if random else way


def pinned(path: Path, pins: Collection[str]) -> Path:
    """The path itself. Raises ConfigError when its sha256 is none of the pins; without pins any will do."""
    found = digest(path)
    if pins and found not in pins:
        raise ConfigError(f"{path} has sha256 {found[:16]}..., which is not the official file; delete it, or export it by --weights {path.parent}")
    return path


class Downloader:
    """Fetches files. A host that did not answer once is not asked again in this run."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        """transport stands in for the network in tests."""
        timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
        self._client = httpx.Client(timeout=timeout, follow_redirects=True, transport=transport, headers={"accept-encoding": "identity"})
        self._silent: dict[str, str] = {}

    def fetch(self, url: str, target: Path, digests: Collection[str] = ()) -> Path:
        """Bring url to target, going on where an earlier try stopped. digests: sha256 or its beginning, any of them; empty: the server's own, if it says one.

        Raises Unreachable, NotThere, or ConfigError when the bytes are not the expected ones or the disk is full.
        """
        host = urlsplit(url).netloc
        if host in self._silent:
            raise Unreachable(f"{host}: {self._silent[host]}")
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            stated = self._with_resumes(url, part)
        except httpx.TransportError as error:
            self._silent[host] = type(error).__name__ + (f" ({str(error).splitlines()[0]})" if str(error) else "")
            raise Unreachable(f"{host}: {self._silent[host]}") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{host}: {error}") from error
        except OSError as error:
            raise ConfigError(f"{part}: {error.strerror}; set MODEL_CACHE_DIR to a folder with room, then run the same command again") from error
        self._verify(part, digests or ([stated] if stated else []), url)
        part.replace(target)
        return target

    def _with_resumes(self, url: str, part: Path) -> str | None:
        for left in reversed(range(RESUMES)):
            before = _size(part)
            try:
                return self._transfer(url, part)
            except httpx.TransportError:
                if not left or _size(part) == before:
                    raise
        return None

    def _transfer(self, url: str, part: Path) -> str | None:
        have = _size(part)
        with self._client.stream("GET", url, headers={"range": f"bytes={have}-"} if have else {}) as answer:
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotThere(f"{urlsplit(url).netloc}: 404 for {urlsplit(url).path}")
            complete = answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
            if not complete:
                answer.raise_for_status()
                have = have if answer.status_code == httpx.codes.PARTIAL_CONTENT else 0  # a server without ranges starts over
                self._write(answer, part, have)
            return _stated_digest(answer)

    def _write(self, answer: httpx.Response, part: Path, have: int) -> None:
        length = answer.headers.get("content-length")
        total = have + int(length) if length else None
        if total and shutil.disk_usage(part.parent).free < total - have:
            raise OSError(28, f"{(total - have) / 1e6:.0f} MB are needed, {shutil.disk_usage(part.parent).free / 1e6:.0f} MB are free")
        columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with part.open("r+b" if have else "wb") as stream, Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            stream.seek(have)
            stream.truncate()
            task = bar.add_task(part.stem, total=total, completed=have)
            for block in answer.iter_bytes():  # as they come: what a cut line brought is kept, and resumed from
                stream.write(block)
                bar.advance(task, len(block))

    def _verify(self, part: Path, digests: Collection[str], url: str) -> None:
        with part.open("rb") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
        if digests and not any(got.startswith(digest) for digest in digests):
            part.unlink()
            raise ConfigError(
                f"{url} brought sha256 {got[:16]}..., expected {' or '.join(digest[:16] for digest in digests)}; deleted, run the command again"
            )


def _stated_digest(answer: httpx.Response) -> str | None:
    """The sha256 by which a large-file store names what it sends, if it does."""
    for step in (*answer.history, answer):
        tag = step.headers.get("x-linked-etag", "").strip('"')
        if len(tag) == 64:  # noqa: PLR2004  # hex digits of a sha256
            return str(tag)
    return None


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116  # one call for "is it there" and "how large"
    except FileNotFoundError:
        return 0
