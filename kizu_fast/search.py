"""A question to ranked photos: understand, embed, rank in SQL, fuse."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from kizu_fast.domain import Embedding
from kizu_fast.query import Understanding, understand
from kizu_fast.store import Card, SearchStore, SpaceStore

EmbedText = Callable[[str, str], Awaitable[Embedding]]

RRF_K = 60  # reciprocal rank fusion, Cormack et al. 2009: needs no calibration between unlike scores
_DEPTH = 5  # each list is asked for this many times the answer's length
_LEAST_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Found:
    """One photo of an answer. score: higher is better, comparable within one answer only."""

    asset_id: UUID
    path: str | None  # as os.fsdecode gives it; None for a photo that is not on this machine
    score: float
    taken_at: str | None  # EXIF wall time, with the offset if the file states one
    objects: tuple[str, ...]
    text: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Ranked photos and how the question was read."""

    query: str
    understood: Understanding
    photos: tuple[Found, ...]


async def search(query: str, *, user: UUID, limit: int, stores: tuple[SearchStore, SpaceStore], embed_text: EmbedText) -> Answer:
    """The best photos of one user. embed_text gets the text and the space that search reads. Lists that the query does not call for are left out."""
    understood = understand(query)
    depth = max(limit * _DEPTH, _LEAST_DEPTH)
    store, spaces = stores
    lists: list[list[UUID]] = []
    space = await spaces.active_space()
    if understood.semantic is not None and space is not None:
        embedding = await embed_text(understood.semantic, space.name)
        lists.append([hit.asset_id for hit in await store.by_vector(user, space.name, embedding.vector, depth)])
    if understood.objects:
        lists.append([hit.asset_id for hit in await store.by_objects(user, understood.objects, depth)])
    scores = fuse(lists)
    best = sorted(scores, key=lambda asset_id: (-scores[asset_id], asset_id))[:limit]
    cards = await store.cards(user, best)
    photos = tuple(_found(cards[asset_id], scores[asset_id]) for asset_id in best if asset_id in cards)
    return Answer(query, understood, photos)


def fuse(lists: Iterable[Sequence[UUID]]) -> Mapping[UUID, float]:
    """Reciprocal rank fusion: the sum of 1 / (60 + rank) over the lists that hold a photo, ranks from 1."""
    scores: dict[UUID, float] = {}
    for ranked in lists:
        for rank, asset_id in enumerate(ranked, start=1):
            scores[asset_id] = scores.get(asset_id, 0.0) + 1 / (RRF_K + rank)
    return scores


def _found(card: Card, score: float) -> Found:
    return Found(card.asset_id, card.path, score, card.taken_at, card.objects, card.text)
