"""A question to ranked photos: understand, embed, rank in SQL, fuse."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from kizu_fast.domain import Embedding
from kizu_fast.query import Understanding, understand
from kizu_fast.store import Card, Hit, Person, SearchStore, SpaceStore
from kizu_fast.wording import EVERY_WORD, PHRASE

EmbedText = Callable[[str, str], Awaitable[Embedding]]

RRF_K = 60  # reciprocal rank fusion, Cormack et al. 2009: needs no calibration between unlike scores
_DEPTH = 5  # each list is asked for this many times the answer's length
_LEAST_DEPTH = 200
_MISREAD = 0.65  # a quoted text counts as read from here on if nothing says it exactly: a letter may be wrong
# What a text or a caption counts that scores at least this much, where any other list counts 1 (docs/decisions/013-texts-and-captions.md).
_TEXT_WEIGHTS = ((PHRASE, 6.0), (EVERY_WORD, 4.0), (0.7, 1.0), (0.0, 0.25))
_CAPTION_WEIGHTS = ((PHRASE, 2.0), (EVERY_WORD, 1.0), (0.5, 0.5), (0.0, 0.0))
_CROWDED = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """One photo of an answer. score: higher is better, comparable within one answer only. text: the words in or about it that were asked for."""

    asset_id: UUID
    path: str | None  # as os.fsdecode gives it; None for a photo that is not on this machine
    score: float
    taken_at: str | None  # EXIF wall time, with the offset if the file states one
    objects: tuple[str, ...]
    faces: tuple[Person, ...]
    text: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Ranked photos and how the question was read. used: the lists that had something to say: embedding, objects, text, captions."""

    query: str
    understood: Understanding
    used: tuple[str, ...]
    photos: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Ballot:
    """One list. weights: (score, weight) of hits that score at least that much, the highest first."""

    name: str
    hits: Sequence[Hit]
    weights: Sequence[tuple[float, float]] = ((float("-inf"), 1.0),)

    def weight(self, hit: Hit) -> float:
        return next((weight for least, weight in self.weights if hit.score >= least), 0.0)


async def search(query: str, *, user: UUID, limit: int, stores: tuple[SearchStore, SpaceStore], embed_text: EmbedText) -> Answer:
    """The best photos of one user. embed_text gets the text and the space that search reads. Lists that the query does not call for are left out.

    Quoted words are a filter: only photos in which they were read.
    """
    understood = understand(query)
    depth = max(limit * _DEPTH, _LEAST_DEPTH)
    store = stores[0]
    quoted = [_literal(await store.by_text(user, phrase, depth)) for phrase in understood.text]
    ballots = [Ballot("text", hits, _TEXT_WEIGHTS) for hits in quoted]
    ballots += await _meant(understood, user, depth, stores, embed_text)
    ballots += await _worded(understood, user, limit, depth, store)
    allowed = set.intersection(*({hit.asset_id for hit in hits} for hits in quoted)) if quoted else None
    scores = {asset_id: score for asset_id, score in fuse(ballots).items() if allowed is None or asset_id in allowed}
    best = sorted(scores, key=lambda asset_id: (-scores[asset_id], asset_id))[:limit]
    cards = await store.cards(user, best)
    snippets = _snippets(ballots)
    photos = tuple(_found(cards[asset_id], scores[asset_id], snippets.get(asset_id)) for asset_id in best if asset_id in cards)
    return Answer(query, understood, tuple(dict.fromkeys(ballot.name for ballot in ballots if ballot.hits)), photos)


async def _meant(understood: Understanding, user: UUID, depth: int, stores: tuple[SearchStore, SpaceStore], embed_text: EmbedText) -> list[Ballot]:
    """What the photos show, as the embedder and the detector see it."""
    store, spaces = stores
    ballots = []
    space = await spaces.active_space()
    if understood.semantic is not None and space is not None:
        embedding = await embed_text(understood.semantic, space.name)
        ballots.append(Ballot("embedding", await store.by_vector(user, space.name, embedding.vector, depth)))
    if understood.objects:
        ballots.append(Ballot("objects", await store.by_objects(user, understood.objects, depth)))
    return ballots


async def _worded(understood: Understanding, user: UUID, limit: int, depth: int, store: SearchStore) -> list[Ballot]:
    """What can be read in the photos, and what was written about them."""
    if understood.semantic is None:
        return []
    texts = await store.by_text(user, understood.semantic, depth)
    captions = await store.by_caption(user, understood.semantic, depth)
    # One plain word that stands in very many photos, such as 'beach' on signs, must not push out those that show it.
    crowded = len(understood.words) == 1 and sum(hit.score >= EVERY_WORD for hit in texts) > max(limit // 2, 1)
    return [Ballot("text", texts, ((0.0, _CROWDED),) if crowded else _TEXT_WEIGHTS), Ballot("captions", captions, _CAPTION_WEIGHTS)]


def fuse(ballots: Iterable[Ballot]) -> Mapping[UUID, float]:
    """Reciprocal rank fusion: the sum of weight / (60 + rank) over the lists that hold a photo, ranks from 1. Equal scores share a rank."""
    scores: dict[UUID, float] = {}
    for ballot in ballots:
        rank, last = 0, float("nan")
        for place, hit in enumerate(ballot.hits, start=1):
            rank, last = (rank if hit.score == last else place), hit.score
            weight = ballot.weight(hit)
            if weight > 0:
                scores[hit.asset_id] = scores.get(hit.asset_id, 0.0) + weight / (RRF_K + rank)
    return scores


def _literal(hits: Sequence[Hit]) -> list[Hit]:
    """Those that say a quoted text; if there are none, those in which a letter may have been misread."""
    return [hit for hit in hits if hit.score >= EVERY_WORD] or [hit for hit in hits if hit.score >= _MISREAD]


def _snippets(ballots: Collection[Ballot]) -> dict[UUID, str]:
    """What was read in a photo comes before what was written about it."""
    found: dict[UUID, str] = {}
    for hit in (hit for ballot in ballots for hit in ballot.hits if ballot.weight(hit) > 0):
        if hit.snippet is not None:
            found.setdefault(hit.asset_id, hit.snippet)
    return found


def _found(card: Card, score: float, text: str | None) -> Found:
    return Found(card.asset_id, card.path, score, card.taken_at, card.objects, card.faces, text)
