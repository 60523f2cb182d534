"""A contact map as a vector: its upper triangle, or a summary of fixed length."""

from __future__ import annotations

import numpy as np

# separations along the chain, as in CASP; closer pairs contain little information on the fold
BANDS = {"short": (6, 12), "medium": (12, 24), "long": (24, None)}
FEATURES = (
    *(f"{kind}_{band}" for band in BANDS for kind in ("count", "mean")),
    "relative_contact_order",
)
_CONTACT = 0.5  # the probability above which a pair counts
_NEAREST = min(low for low, _ in BANDS.values())


def upper_triangle(contacts: np.ndarray) -> np.ndarray:
    """Return the numbers of a symmetric map on and above its diagonal, row by row.

    Parameters
    ----------
    contacts : ndarray of shape (residues, residues)

    Returns
    -------
    ndarray of shape (residues x (residues + 1) / 2,)
    """
    triangle: np.ndarray = contacts[_on_or_above_diagonal(len(contacts))]
    return triangle


def full_map(triangle: np.ndarray) -> np.ndarray:
    """Return the symmetric map ``(residues, residues)`` of an upper triangle."""
    residues = int(np.sqrt(2 * len(triangle)))
    upper = _on_or_above_diagonal(residues)
    contacts = np.empty((residues, residues), dtype=triangle.dtype)
    contacts[upper] = triangle
    contacts.T[upper] = triangle
    return contacts


def _on_or_above_diagonal(residues: int) -> np.ndarray:
    """Return a mask ``(residues, residues)``, which is an eighth the size of the indices."""
    upper: np.ndarray = ~np.tri(residues, k=-1, dtype=bool)
    return upper


def contact_features(contacts: np.ndarray) -> np.ndarray:
    """Return the summary of a map, named in ``FEATURES``.

    Parameters
    ----------
    contacts : ndarray of shape (residues, residues)
        Symmetric probabilities p of contact.

    Returns
    -------
    ndarray of shape (7,), float32
        Number of pairs i < j with p > 0.5 and mean of p, for each band of separations j - i: short
        (6 to 11), medium (12 to 23) and long (24 and more). A band without pairs is 0.

        The last number is the relative contact order of Plaxco et al. 1998 over all these pairs,
        weighted by probability: sum of p (j - i) / (residues x sum of p).

    Examples
    --------
    >>> contacts = np.zeros((10, 10))
    >>> contacts[1, 8] = contacts[8, 1] = 0.8
    >>> dict(zip(FEATURES, contact_features(contacts).round(3).tolist()))["relative_contact_order"]
    0.7
    """
    residues = len(contacts)
    rows, columns = np.triu_indices(residues, k=_NEAREST)
    p = contacts[rows, columns].astype(np.float64)  # (pairs,)
    apart = columns - rows  # (pairs,)
    features: list[float] = []
    for low, end in BANDS.values():
        band = p[(apart >= low) & (apart < (end or residues))]
        features += [float(np.count_nonzero(band > _CONTACT)), float(band.mean()) if len(band) else 0.0]
    total = p.sum()
    features.append((p * apart).sum() / (residues * total) if total else 0.0)
    return np.array(features, dtype=np.float32)
