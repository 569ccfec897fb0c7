"""How far twelve brightness numbers get, without any shape: the floor that every real model is shown against.

In: public cohort and test pixels. Out: class probabilities of the test images. A task that this solves is
partly a detector of cameras, sites or exposure, whatever a network reaches on it.
"""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EDGE = 8  # corners and borders are 1/8 of the side


def trivial_features(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Describe each image (N, H, W, 3) by twelve numbers (N, 12), each from 0 to 1.

    Mean, contrast (standard deviation), 5th and 95th percentile; brightness of the four corners and of the
    four borders, each 1/8 of the side wide.
    """
    return np.array([_describe(image) for image in pixels]).reshape(-1, 12)


def trivial_probabilities(
    train_pixels: npt.NDArray[np.uint8],
    train_labels: npt.ArrayLike,
    test_pixels: npt.NDArray[np.uint8],
    num_classes: int,
) -> npt.NDArray[np.float64]:
    """Fit a logistic regression on the twelve numbers of the cohort and apply it: (M, H, W, 3) -> (M, C).

    A class without a cohort image gets probability 0; with a single class, that class gets 1 everywhere.
    """
    labels = np.asarray(train_labels, np.int64)
    if not labels.size:
        raise ValueError("the cohort has no images; the trivial model needs at least one")
    known = np.unique(labels)
    result = np.zeros((len(test_pixels), num_classes))
    if known.size == 1 or not len(test_pixels):
        result[:, known] = 1 / known.size
        return result
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(trivial_features(train_pixels), labels)
    result[:, known] = model.predict_proba(trivial_features(test_pixels))
    return result


def _describe(image: npt.NDArray[np.uint8]) -> list[float]:
    grey = image.mean(axis=2, dtype=np.float64) / 255
    rows, columns = (max(1, side // EDGE) for side in grey.shape)
    top, bottom, left, right = grey[:rows], grey[-rows:], grey[:, :columns], grey[:, -columns:]
    corners = top[:, :columns], top[:, -columns:], bottom[:, :columns], bottom[:, -columns:]
    return [
        float(grey.mean()),
        float(grey.std()),
        *(float(level) for level in np.quantile(grey, (0.05, 0.95))),
        *(float(part.mean()) for part in (*corners, top, bottom, left, right)),
    ]
