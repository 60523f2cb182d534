"""Plot of a contact map, with the contacts of a structure in the other triangle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_esm.display._matplotlib import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAREST = 6  # minimum separation along the chain; closer residues touch in every fold


class ContactMapDisplay:
    """Plot of predicted contacts, with those of a structure in the other triangle.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`. Parameters become attributes.

    Parameters
    ----------
    contacts : ndarray of shape (residues, residues)
        Probabilities of contact.

    true_contacts : ndarray of shape (residues, residues) or None, default=None
        True if two residues touch in the structure, NaN if unknown.

    name : str or None, default=None
        Title of the plot.

    Attributes
    ----------
    im_ : matplotlib.image.AxesImage
        Image of the map.

    ax_ : matplotlib.axes.Axes
        Axes of the plot.

    figure_ : matplotlib.figure.Figure
        Figure of the axes.

    precision_ : float or None
        Precision at L, as in CASP: the share of true contacts among the L most probable pairs at
        least 6 residues apart. L is the number of residues. None without such true contacts.

    See Also
    --------
    sklearn_esm.ESMContactTransformer : Predict contacts.

    Notes
    -----
    The contacts of a language model are usually compared by their precision at L [1]_.

    References
    ----------
    .. [1] Rao et al. (2021), "Transformer protein language models are unsupervised structure
       learners", ICLR.

    Examples
    --------
    .. plot::

        >>> import numpy as np
        >>> from sklearn_esm.display import ContactMapDisplay
        >>> positions = np.arange(30)
        >>> contacts = np.exp(-abs(positions[:, None] + positions - 29) / 2)  # a hairpin
        >>> display = ContactMapDisplay.from_predictions(contacts, true_contacts=contacts > 0.5)
        >>> display.im_.get_array().shape
        (30, 30)
    """

    def __init__(
        self,
        contacts: np.ndarray,
        *,
        true_contacts: np.ndarray | None = None,
        name: str | None = None,
    ) -> None:
        self.contacts = contacts
        self.true_contacts = true_contacts
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        true_contacts: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
        cmap: str = "Blues",
    ) -> ContactMapDisplay:
        """Predict the contacts of one sequence and draw them.

        Parameters
        ----------
        estimator : ESMContactTransformer
            Transformer with ``output="map"``, fitted or not.

        X : str, or a list, array or column of one sequence
            The sequence.

        true_contacts : array-like of shape (residues, residues) or None, default=None
            Contacts of a structure, drawn below the diagonal.

        name : str or None, default=None
            Title of the plot. None shows the precision if there are true contacts.

        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        cmap : str, default="Blues"
            Name of the matplotlib colormap.

        Returns
        -------
        ContactMapDisplay
            Display with ``ax_``, ``figure_`` and ``im_``.

        Raises
        ------
        ValueError
            If there are several sequences, or if the estimator does not return maps.
        ImportError
            If matplotlib is not installed.
        """
        maps = estimator.fit_transform([X] if isinstance(X, str) else X)
        if len(maps) != 1 or maps.dtype != object:
            raise ValueError(
                f"estimator must return one contact map; got an array of shape {maps.shape} and dtype "
                f"{maps.dtype} from {estimator!r}. Pass one sequence, and an ESMContactTransformer "
                "with output='map'."
            )
        return cls.from_predictions(maps[0], true_contacts=true_contacts, name=name, ax=ax, cmap=cmap)

    @classmethod
    def from_predictions(
        cls,
        contacts: Any,
        *,
        true_contacts: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
        cmap: str = "Blues",
    ) -> ContactMapDisplay:
        """Draw a contact map.

        Parameters
        ----------
        contacts : array-like of shape (residues, residues)
            Symmetric probabilities of contact.

        true_contacts : array-like of shape (residues, residues) or None, default=None
            Contacts of a structure, drawn below the diagonal.

        name : str or None, default=None
            Title of the plot. None shows the precision if there are true contacts.

        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        cmap : str, default="Blues"
            Name of the matplotlib colormap.

        Returns
        -------
        ContactMapDisplay
            Display with ``ax_``, ``figure_`` and ``im_``.

        Raises
        ------
        ValueError
            If an array has a wrong shape.
        ImportError
            If matplotlib is not installed.
        """
        contacts = np.asarray(contacts)
        if contacts.ndim != 2 or contacts.shape[0] != contacts.shape[1] or not contacts.size:
            raise ValueError(
                f"contacts must have the shape (residues, residues); got {contacts.shape}. Pass one map."
            )
        if true_contacts is not None:
            true_contacts = np.asarray(true_contacts, dtype=np.float64)
            if true_contacts.shape != contacts.shape:
                raise ValueError(
                    f"true_contacts must have the shape of contacts, {contacts.shape}; got "
                    f"{true_contacts.shape}. Pass the contacts of the same residues."
                )
        display = cls(contacts, true_contacts=true_contacts, name=name)
        return display.plot(ax=ax, cmap=cmap)

    @property
    def precision_(self) -> float | None:
        """Precision at L of pairs at least 6 residues apart, None without known pairs."""
        if self.true_contacts is None:
            return None
        rows, columns = np.triu_indices(len(self.contacts), k=_NEAREST)
        true = self.true_contacts[rows, columns]  # (pairs,)
        known = ~np.isnan(true)
        if not known.any():
            return None
        most_probable = np.argsort(-self.contacts[rows, columns][known], kind="stable")
        return float(true[known][most_probable[: len(self.contacts)]].mean())

    def plot(self, *, ax: Axes | None = None, cmap: str = "Blues") -> ContactMapDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Axes to draw on. None creates a figure.

        cmap : str, default="Blues"
            Name of the matplotlib colormap.

        Returns
        -------
        ContactMapDisplay
            The display itself.
        """
        ax = axes_or_new(ax)
        shown = np.array(self.contacts, dtype=np.float64)  # (residues, residues)
        residues = len(shown)
        if self.true_contacts is not None:
            below = np.tril_indices(residues, k=-1)
            shown[below] = self.true_contacts[below]
        # residues count from 1, as in structures
        low, high = 0.5, residues + 0.5
        self.im_ = ax.imshow(
            shown, cmap=cmap, vmin=0, vmax=1, origin="upper", extent=(low, high, high, low)
        )
        ax.plot((low, high), (low, high), color="0.6", linewidth=0.8)
        ax.set(xlabel="Residue", ylabel="Residue", title=self._title())
        ax.figure.colorbar(self.im_, ax=ax, label="Probability of contact")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _title(self) -> str:
        if self.name is not None:
            return self.name
        if self.precision_ is None:
            return "Predicted contacts"
        return f"Predicted above, structure below; precision at L {self.precision_:.2f}"
