"""The 17 published sequence models: name, layers, width, heads, limit."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

# included in the package, so it is never downloaded
BUNDLED_MODEL = "esm2_t6_1M_bundled"


@dataclass(frozen=True)
class PublishedModel:
    """One of the sequence models that Meta published with fair-esm.

    Parameters
    ----------
    name : str
        Name in fair-esm, and the checkpoint's file name without ``.pt``.
    family : {"esm2", "esm1b", "esm1v", "esm1"}
        Family of architectures.
    layers, width, heads : int
        Number of blocks, length of a residue's vector, number of attention heads.
    max_length : int or None
        Length of the longest sequence in residues, None without a limit.
    parameters : int
        Number of weights, rounded as in the name.
    """

    name: str
    family: str
    layers: int
    width: int
    heads: int
    max_length: int | None
    parameters: int


CATALOG: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        PublishedModel("esm2_t6_8M_UR50D", "esm2", 6, 320, 20, None, 8_000_000),
        PublishedModel("esm2_t12_35M_UR50D", "esm2", 12, 480, 20, None, 35_000_000),
        PublishedModel("esm2_t30_150M_UR50D", "esm2", 30, 640, 20, None, 150_000_000),
        PublishedModel("esm2_t33_650M_UR50D", "esm2", 33, 1280, 20, None, 650_000_000),
        PublishedModel("esm2_t36_3B_UR50D", "esm2", 36, 2560, 40, None, 3_000_000_000),
        PublishedModel("esm2_t48_15B_UR50D", "esm2", 48, 5120, 40, None, 15_000_000_000),
        PublishedModel("esm1b_t33_650M_UR50S", "esm1b", 33, 1280, 20, 1022, 650_000_000),
        PublishedModel("esm1v_t33_650M_UR90S_1", "esm1v", 33, 1280, 20, 1022, 650_000_000),
        PublishedModel("esm1v_t33_650M_UR90S_2", "esm1v", 33, 1280, 20, 1022, 650_000_000),
        PublishedModel("esm1v_t33_650M_UR90S_3", "esm1v", 33, 1280, 20, 1022, 650_000_000),
        PublishedModel("esm1v_t33_650M_UR90S_4", "esm1v", 33, 1280, 20, 1022, 650_000_000),
        PublishedModel("esm1v_t33_650M_UR90S_5", "esm1v", 33, 1280, 20, 1022, 650_000_000),
        PublishedModel("esm1_t34_670M_UR50S", "esm1", 34, 1280, 20, None, 670_000_000),
        PublishedModel("esm1_t34_670M_UR50D", "esm1", 34, 1280, 20, None, 670_000_000),
        PublishedModel("esm1_t34_670M_UR100", "esm1", 34, 1280, 20, None, 670_000_000),
        PublishedModel("esm1_t12_85M_UR50S", "esm1", 12, 768, 12, None, 85_000_000),
        PublishedModel("esm1_t6_43M_UR50S", "esm1", 6, 768, 12, None, 43_000_000),
    )
}

# fair-esm's short name of the first of the five ESM-1v models
ALIASES = {"esm1v_t33_650M_UR90S": "esm1v_t33_650M_UR90S_1"}

_OTHER_KINDS = {
    "esm_msa1": "an MSA Transformer, which needs alignments",
    "esm_if1": "an ESM-IF model, which needs structures",
    "esmfold": "an ESMFold model, which predicts structures",
}


def published_model(name: str) -> PublishedModel:
    """Return a published model by its name or alias in fair-esm.

    Parameters
    ----------
    name : str
        Name or alias, such as ``"esm2_t33_650M_UR50D"``.

    Returns
    -------
    PublishedModel
        Entry of `CATALOG`.

    Raises
    ------
    ValueError
        If the name is unknown, or if the model is not a sequence model.
    """
    name = ALIASES.get(name, name)
    if name in CATALOG:
        return CATALOG[name]
    for prefix, kind in _OTHER_KINDS.items():
        if name.startswith(prefix):
            raise ValueError(
                f"model must be a sequence model; got {name!r}, {kind}. "
                "Pass a sequence model, such as 'esm2_t33_650M_UR50D'."
            )
    raise ValueError(
        "model must be the name of a published ESM model or the path of a .pt file; "
        f"got {name!r}. {_suggestion(name)}"
    )


def _suggestion(name: str) -> str:
    known = {known.lower(): known for known in (*CATALOG, *ALIASES, BUNDLED_MODEL)}
    # the Hugging Face Hub has the same models as "facebook/esm2_t6_8M_UR50D"
    wanted = name.rsplit("/", 1)[-1].lower()
    matches = [known[match] for match in difflib.get_close_matches(wanted, known)]
    if not matches:
        return f"Published models: {', '.join(CATALOG)}."
    return f"Did you mean {' or '.join(map(repr, matches))}?"
