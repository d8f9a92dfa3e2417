"""How well the exported readers agree with the original libraries, on pictures with text: prints a table, exit 1 when a bound is missed.

    python -m export.text_fidelity --weights DIR --images DIR [--repository DIR] [--transcript FILE] [--json]

--weights is what `python -m export` takes. --images is a folder with truth.json: {"ocr": [{"file", "lang", "text": [lines]}]}. The models are
exported first if they are not, into --repository. --transcript keeps what the original read, under "texts" of a JSON file.

What is measured, by language and over all: the character error rate (compatibility form, case and white space folded) of ours and of the
original's own pipeline with the same files, each with every default. ours - theirs <= 0.005 over all pictures.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from export import graph, run
from export.character_errors import distance, folded, rate
from export.download import Downloader
from export.quiet import quiet
from export.sources import ppocr as originals
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError
from kizu_fast.imaging import decode
from kizu_fast.ppocr import PpOcr
from kizu_fast.settings import load_settings
from kizu_fast.specs import PPOCR_SETS, ppocr_names

P = ParamSpec("P")
T = TypeVar("T")

MAX_PIXELS, MAX_BYTES = 128_000_000, 268_435_456
LONGEST, LONG_SIDE = 2048, 1280  # as a worker with default settings: MAX_IMAGE_SIZE, and what a decode for text keeps
MAX_ABOVE = 0.005  # half a point of the error rate

Read = Callable[[Path], list[str]]


class Sessions:
    """What a chain asks of the engine, on plain sessions: one row a run."""

    def __init__(self, repository: Path, names: Iterable[str]) -> None:
        """Raises ConfigError when a model is not exported."""
        models = ModelRepository(repository)
        self._sessions = {name: graph.Session(models.path(name)) for name in names}

    async def run(self, part: Any, subject: Any) -> Any:
        """One row through one graph."""
        prepared = part.prepare(subject)
        outputs = self.infer(part.spec.name, part.spec.stack([prepared.tensors]))
        return prepared.finish({name: value[0] for name, value in outputs.items()})

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """At once."""
        return function(*args, **kwargs)

    def infer(self, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """One batch through a graph."""
        return self._sessions[name].run(inputs)


class Picture(NamedTuple):
    """One line of truth.json."""

    path: Path
    language: str
    text: tuple[str, ...]
    rendered: bool = False
    rotation: float = 0  # degrees counterclockwise, of a rendered one


class Judged(NamedTuple):
    """One picture, read by both."""

    picture: Picture
    ours: int  # characters wrong
    theirs: int
    characters: int


def truth(folder: Path) -> list[Picture]:
    """The pictures that folder/truth.json describes. Raises ConfigError."""
    try:
        entries = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["ocr"]
        return [_picture(folder, entry) for entry in entries]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder / 'truth.json'} cannot be used: {error!r}") from error


def _picture(folder: Path, entry: Mapping[str, Any]) -> Picture:
    rotation = entry.get("rotation_ccw_deg") or 0
    return Picture(folder / entry["file"], entry["lang"] or "none", tuple(entry["text"]), entry.get("kind") == "rendered", rotation)


def photo(path: Path) -> Photo:
    """A picture as a worker decodes it when text is asked for. Raises PermanentError."""
    return decode(path.read_bytes(), max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, long_side=LONG_SIDE)[0]


def ppocr(repository: Path) -> tuple[PpOcr, Sessions]:
    """Our chain with the newest set. Raises ConfigError when it is not exported."""
    models, names = ModelRepository(repository), ppocr_names(PPOCR_SETS[0])
    chain = PpOcr("ppocr", [models.spec(name) for name in names], models.characters(names[-1]), longest=LONGEST)
    return chain, Sessions(repository, names)


def reader(chain: PpOcr, sessions: Sessions) -> Read:
    """A file to its lines, by our chain."""
    return lambda path: [line.text for line in asyncio.run(chain.analyse(photo(path), sessions)).lines]


def rapidocr(weights: Path) -> Read:
    """A file to its lines, by rapidocr with its own defaults and the files of a weights folder."""
    with quiet():
        from rapidocr import RapidOCR  # noqa: PLC0415  # it writes to the log at import
    files = [str(originals.in_folder(wanted.original, weights)) for wanted in originals.parts(PPOCR_SETS[0])]
    keys = ("Det.model_path", "Cls.model_path", "Rec.model_path")
    original = RapidOCR(params={"Global.log_level": "critical", **dict(zip(keys, files, strict=True))})
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return lambda path: list(original(str(path)).txts or ())


def transcript(path: Path) -> Mapping[str, list[str]]:
    """What an original read once, by file name. Raises ConfigError."""
    try:
        texts: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))["texts"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is no transcript: {error!r}") from error
    return texts


def keep(path: Path, texts: Mapping[str, list[str]]) -> None:
    """Put texts into a transcript; what else stands in the file stays."""
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**document, "texts": texts}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def judge(pictures: Sequence[Picture], ours: Read, theirs: Read) -> Iterator[Judged]:
    """Every picture by both, one after the other."""
    for picture in pictures:
        wanted = folded(picture.text)
        wrong = [distance(wanted, folded(read(picture.path))) for read in (ours, theirs)]
        yield Judged(picture, wrong[0], wrong[1], len(wanted))


def figures(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Error rates by language, and over all under "all"."""
    groups: defaultdict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.picture.language].append(one)
    return {
        language: {
            "pictures": len(group),
            "characters": sum(one.characters for one in group),
            "ours": rate(sum(one.ours for one in group), sum(one.characters for one in group)),
            "theirs": rate(sum(one.theirs for one in group), sum(one.characters for one in group)),
        }
        for language, group in [*sorted(groups.items()), ("all", list(judged))]
    }


def holds(table: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether ours misreads hardly more than theirs."""
    return table["all"]["ours"] - table["all"]["theirs"] <= MAX_ABOVE


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when the bound is kept, 1 when it is not or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m export.text_fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, metavar="DIR", required=True)
    parser.add_argument("--images", type=Path, metavar="DIR", required=True)
    parser.add_argument("--repository", type=Path, metavar="DIR")
    parser.add_argument("--transcript", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        table = _measure(options)
    except ConfigError as error:
        sys.stderr.write(f"text_fidelity: {error}\n")
        return 1
    sys.stdout.write(json.dumps(table, indent=2) + "\n" if options.json else "\n".join(lines("ppocr", table)) + "\n")
    return 0 if holds(table) else 1


def _measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    settings = load_settings()
    repository = options.repository or settings.model_repository
    job = run.Job(repository, settings.model_cache_dir, options.weights.resolve(), Downloader(), _say)
    failures = run.export(originals.standard(settings), job).failures
    if failures:
        raise ConfigError("; ".join(failures.values()))
    original, read = rapidocr(options.weights), dict[str, list[str]]()

    def theirs(path: Path) -> list[str]:
        read[path.name] = original(path)
        return read[path.name]

    judged = list(judge(truth(options.images), reader(*ppocr(repository)), theirs))
    if options.transcript:
        keep(options.transcript, read)
    return figures(judged)


def _say(line: str) -> None:
    sys.stderr.write(f"export: {line}\n")


def lines(name: str, table: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The table for a person."""
    yield f"{name:<8} {'pictures':>8} {'characters':>10} {'ours':>8} {'original':>8}"
    for language, row in table.items():
        yield f"{language:<8} {row['pictures']:>8} {row['characters']:>10} {row['ours']:>8.4f} {row['theirs']:>8.4f}"
    yield f"ours - original: {table['all']['ours'] - table['all']['theirs']:+.4f} (at most {MAX_ABOVE:+.4f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
