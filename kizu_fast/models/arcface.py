"""ArcFace and embedders of its contract: alignment to five points before the graph, quality beside it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.specs import FACE_CROP

MAX_NORM_ERROR = 1e-3  # the graph normalises: more is a broken model or a broken backend

# Where the five points of a face lie in the crop of 112 pixels that ArcFace was trained on (Deng et al. 2019, as InsightFace states them).
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64)


def similarity(points: NDArray[np.floating], target: NDArray[np.floating] = TEMPLATE) -> NDArray[np.float64]:
    """The rotation, uniform scale and shift (2, 3) that bring points (N, 2) nearest to target (N, 2) in least squares (Umeyama 1991).

    Raises PermanentError when all points are one.
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    middle, target_middle = points.mean(axis=0), target.mean(axis=0)
    centred = points - middle
    variance = (centred**2).sum() / len(points)
    if variance < np.finfo(np.float32).eps:
        raise PermanentError("the five points of a face are one: the model file or the device is broken")
    left, strength, right = np.linalg.svd((target - target_middle).T @ centred / len(points))
    sign = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    linear = left @ np.diag(sign) @ right * ((strength * sign).sum() / variance)
    return np.hstack((linear, (target_middle - linear @ middle)[:, None]))


def crop(photo: Photo, landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(112, 112, 3): the aligned face, black where the photo ends. landmarks (5, 2) are pixels of the upright original."""
    onto_decoded = decoded_points(photo, landmarks)
    warp = similarity(onto_decoded)
    return np.asarray(cv2.warpAffine(photo.pixels, warp, (FACE_CROP, FACE_CROP), flags=cv2.INTER_LINEAR, borderValue=0), np.uint8)


def decoded_points(photo: Photo, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 2) pixels of the upright original to pixels of the decoded picture. Both count from the middle of the first pixel."""
    height, width = photo.pixels.shape[:2]
    scale = np.array([width / photo.width, height / photo.height])
    decoded: NDArray[np.float64] = (np.asarray(points, np.float64) + 0.5) * scale - 0.5
    return decoded


def postprocess(row: NDArray[np.floating]) -> NDArray[np.float32]:
    """One vector (D,) of the graph to a unit vector. Raises PermanentError when it is not finite or not near length 1."""
    vector = row.astype(np.float64)
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or abs(norm - 1) > MAX_NORM_ERROR:
        raise PermanentError(f"a face's embedding has length {norm:.4g} instead of 1: the model file or the device is broken")
    return (vector / norm).astype(np.float32)


def quality(aligned: NDArray[np.uint8], side_px: float, score: float, landmarks: NDArray[np.floating]) -> float:
    """How much a face tells about its owner, in [0, 1]: size x score x sharpness x pose.

    aligned is the crop; side_px the box's shorter side in pixels of the decoded picture, which is what the embedder sees; landmarks (5, 2) in any
    upright frame. The formula and its numbers were fitted to how far damaged crops move from their originals (docs/decisions/009-faces.md).
    """
    size = np.sqrt(np.clip((side_px - 12) / 52, 0, 1))
    sure = np.clip((score - 0.40) / 0.35, 0, 1)
    sharp = np.clip((np.log10(max(sharpness(aligned), 1e-9)) + 3.2) / 1.3, 0, 1)
    frontal = 1 - 0.5 * np.clip((abs(yaw(landmarks)) - 0.2) / 0.3, 0, 1)
    return float(size * sure * sharp * frontal)


def sharpness(aligned: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the smoothed grey crop, as a share of the crop's own variance: blind to how dark the picture is."""
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1), cv2.CV_32F)
    return float(edges.var() / (grey.var() + 1))


def yaw(landmarks: NDArray[np.floating]) -> float:
    """How far the nose lies from the middle of the eyes along their line, in distances between the eyes. 0: frontal."""
    left, right, nose = np.asarray(landmarks[:3], np.float64)
    line = right - left
    return float((nose - (left + right) / 2) @ line / max(float(line @ line), 1e-9))
