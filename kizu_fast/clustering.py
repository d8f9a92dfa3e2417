"""Faces that surely show one person: DBSCAN over a graph of nearest neighbours. Pure; nothing here knows names, photos or decisions.

This is the strict half of grouping people. Joining such groups, attaching weak faces and keeping what a person has said about them
need the stored clusters, and belong where those are written.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import DBSCAN

MIN_SIMILARITY = 0.50  # cosine of two faces that are linked
MIN_QUALITY = 0.4  # below it faces resemble each other, not their owners
NEIGHBOURS = 64
ALONE = -1

_MAX_UNIT_ERROR = 1e-2  # vectors come back from the database in half precision
_MIN_DISTANCE = 1e-6  # a distance of 0 would be taken for "no edge" by sparse arithmetic
_TILE = (1024, 8192)  # rows and columns of similarities that are in memory at once: 32 MB, whatever the number of faces


def strict_groups(
    vectors: NDArray[np.floating], quality: NDArray[np.floating], *, min_similarity: float = MIN_SIMILARITY, min_quality: float = MIN_QUALITY
) -> NDArray[np.int64]:
    """(N, D) unit vectors and their qualities (N,) to group numbers (N,): 0 for the group of the first grouped face, and on; ALONE (-1) for the rest.

    Faces below min_quality take no part. The same faces in another order give the same groups: equal vectors are one node that weighs as many,
    and the nodes are put into an order of their own.
    Raises ValueError for values that are not finite, vectors that are not of length 1, lists of unequal length, min_similarity outside (0, 1).
    """
    if not 0 < min_similarity < 1:
        raise ValueError(f"min_similarity is a cosine between 0 and 1, got {min_similarity}")
    vectors, quality = _checked(vectors, quality)
    groups = np.full(len(vectors), ALONE, np.int64)
    good = np.flatnonzero(quality >= min_quality)
    if len(good) > 1:
        nodes, node_of, weight = np.unique(vectors[good], axis=0, return_inverse=True, return_counts=True)
        graph = neighbour_graph(nodes, min_similarity=min_similarity)
        found = DBSCAN(eps=1 - min_similarity + _MIN_DISTANCE, min_samples=2, metric="precomputed").fit_predict(graph, sample_weight=weight)
        groups[good] = _numbered(found[node_of])
    return groups


def neighbour_graph(
    vectors: NDArray[np.float32], *, min_similarity: float, neighbours: int = NEIGHBOURS, tile: tuple[int, int] = _TILE
) -> sparse.csr_matrix:
    """(N, D) unit vectors to a symmetric graph (N, N) of cosine distances: an edge where one of two is among the other's nearest and similar enough.

    Never N x N in memory: one tile of similarities after the other. Edges of either direction count, since the neighbours of a person with many
    pictures are all his own, while a rare picture of him has him among its nearest.
    """
    count = len(vectors)
    rows, columns, values = [], [], []
    for first in range(0, count, tile[0]):
        own = slice(first, first + tile[0])
        near = _nearest(vectors, own, tile[1], min_similarity, neighbours)
        rows.append(near.row + first)
        columns.append(near.col)
        values.append(near.data)
    if not rows:
        return sparse.csr_matrix((count, count), dtype=np.float32)
    distances = np.maximum(1 - np.concatenate(values), _MIN_DISTANCE).astype(np.float32)
    graph = sparse.csr_matrix((distances, (np.concatenate(rows), np.concatenate(columns))), shape=(count, count))
    return _either_way(graph)


def _nearest(vectors: NDArray[np.float32], own: slice, width: int, min_similarity: float, neighbours: int) -> sparse.coo_matrix:
    """The similarities of some rows to their nearest, themselves left out."""
    block = vectors[own]
    kept = sparse.csr_matrix((len(block), 0), dtype=np.float32)
    for start in range(0, len(vectors), width):
        similar = block @ vectors[start : start + width].T
        themselves = np.arange(max(own.start, start), min(own.start + len(block), start + similar.shape[1]))
        similar[themselves - own.start, themselves - start] = 0
        similar[similar < min_similarity] = 0
        kept = _cut(sparse.hstack((kept, sparse.csr_matrix(similar)), format="csr"), neighbours)
    return kept.tocoo()


def _cut(similar: sparse.csr_matrix, neighbours: int) -> sparse.csr_matrix:
    """Only the largest entries of each row, and what equals the last of them."""
    for row in np.flatnonzero(np.diff(similar.indptr) > neighbours):
        values = similar.data[similar.indptr[row] : similar.indptr[row + 1]]
        values[values < np.partition(values, -neighbours)[-neighbours]] = 0
    similar.eliminate_zeros()
    return similar


def _either_way(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    """An edge that one end has counts for both. Both directions of a pair were computed apart: the larger distance stands."""
    return graph.maximum(graph.T).tocsr()


def _numbered(found: NDArray[np.integer]) -> NDArray[np.int64]:
    """Group numbers by first appearance; -1 stays."""
    order: dict[int, int] = {}
    return np.array([ALONE if one < 0 else order.setdefault(int(one), len(order)) for one in found], np.int64)


def _checked(vectors: NDArray[np.floating], quality: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    vectors, quality = np.asarray(vectors, np.float32), np.asarray(quality, np.float32)
    if len(vectors) == 0 and len(quality) == 0:
        return np.zeros((0, 1), np.float32), quality
    if vectors.ndim != 2 or quality.shape != (len(vectors),):  # noqa: PLR2004  # rows and numbers
        raise ValueError(f"vectors (N, D) and qualities (N,) are wanted, got {vectors.shape} and {quality.shape}")
    if not (np.isfinite(vectors).all() and np.isfinite(quality).all()):
        raise ValueError("vectors or qualities are not finite")
    if np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > _MAX_UNIT_ERROR:
        raise ValueError("vectors are not of length 1")
    return vectors, quality
