"""The published sequence models: name, shape, licence, and where ESM C is on the Hugging Face Hub."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

# included in the package, so it is never downloaded
BUNDLED_MODEL = "esm2_t6_1M_bundled"


@dataclass(frozen=True)
class HubSource:
    """Where a published model is on the Hugging Face Hub.

    Parameters
    ----------
    repository : str
        Name such as ``"biohub/ESMC-300M"``.
    commit : str or None
        Commit of the known weights, None for the newest.
    sha256 : str or None
        SHA-256 of ``model.safetensors`` at that commit.
    """

    repository: str
    commit: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedModel:
    """A published sequence model: one of Meta's, or an ESM C model.

    Parameters
    ----------
    name : str
        Name of the model. For Meta's models it is fair-esm's, and the checkpoint's file name without
        ``.pt``.
    family : {"esm2", "esm1b", "esm1v", "esm1", "esmc"}
        Family of architectures.
    layers, width, heads : int
        Number of blocks, length of a residue's vector, number of attention heads.
    max_length : int or None
        Length of the longest sequence in residues, None without a limit.
    parameters : int
        Number of weights, rounded as in the name.
    licence : str, default="MIT"
        Licence of the weights.
    hub : HubSource or None, default=None
        Source on the Hugging Face Hub. None for a file of fair-esm.
    """

    name: str
    family: str
    layers: int
    width: int
    heads: int
    max_length: int | None
    parameters: int
    licence: str = "MIT"
    hub: HubSource | None = None


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

# the SHA-256 sums are from a list that a third party keeps; Biohub publishes none
_ESMC_300M = HubSource(
    "biohub/ESMC-300M",
    "a59b831785f907e96e6a246b1d142bfb76df31ee",
    "0772d8fe64bb25e14fe6f23b80e3c9a7d215d0da3c6cba5bd356d7c0e0bb22cc",
)
_ESMC_600M = HubSource(
    "biohub/ESMC-600M",
    "a7e82012c83126b9eedb055fea9fa84b6c02f094",
    "e4232c30fd35fe2f57051ec88a703996ac94520580b4b836894207a3d45d9ff8",
)

# ESM C, which Biohub published on the Hugging Face Hub
ESMC: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        PublishedModel("esmc_300m", "esmc", 30, 960, 15, None, 300_000_000, hub=_ESMC_300M),
        PublishedModel("esmc_600m", "esmc", 36, 1152, 18, None, 600_000_000, hub=_ESMC_600M),
        PublishedModel(
            "esmc_6b", "esmc", 80, 2560, 40, None, 6_000_000_000, hub=HubSource("biohub/ESMC-6B")
        ),
    )
}

# fair-esm's short name of the first of the five ESM-1v models
ALIASES = {"esm1v_t33_650M_UR90S": "esm1v_t33_650M_UR90S_1"}

# the repositories of the Hub that hold the same models, for suggestions
KNOWN_REPOSITORIES = [
    *(f"facebook/{model.name}" for model in CATALOG.values() if model.family != "esm1"),
    *(model.hub.repository for model in ESMC.values() if model.hub is not None),
]

# beginnings of names in lower case
_OTHER_KINDS = {
    "esm_msa": "an MSA Transformer, which needs alignments",
    "esm_if": "an ESM-IF model, which needs structures",
    "esmfold": "an ESMFold model, which predicts structures",
    "esm3": "an ESM3 model, which generates sequences and structures",
    "esmplusplus": "an ESM++ model, a copy of ESM C in another format",
    "prot_t5": "a ProtT5 model, which has another architecture",
    "prott5": "a ProtT5 model, which has another architecture",
    "prostt5": "a ProstT5 model, which has another architecture",
    "prot_bert": "a ProtBERT model, which has another architecture",
    "protbert": "a ProtBERT model, which has another architecture",
    "ankh": "an Ankh model, which has another architecture",
    "saprot": "a SaProt model, which needs structures",
    "nucleotide-transformer": "a model of DNA",
    "dnabert": "a model of DNA",
}
# elsewhere a repository's name says nothing about its content
_THEIR_OWNERS = (
    *("facebook", "evolutionaryscale", "biohub", "synthyra", "rostlab", "elnaggarlab"),
    *("westlake-repl", "instadeepai", "zhihan1996"),
)


def published_model(name: str) -> PublishedModel:
    """Return a published model by its name or alias.

    Parameters
    ----------
    name : str
        Name or alias, such as ``"esm2_t33_650M_UR50D"`` or ``"esmc_300m"``.

    Returns
    -------
    PublishedModel
        Entry of `CATALOG` or `ESMC`.

    Raises
    ------
    ValueError
        If the name is unknown, or if the model is of a kind that is not supported.
    """
    name = ALIASES.get(name, name)
    if name in CATALOG:
        return CATALOG[name]
    if name in ESMC:
        return ESMC[name]
    check_kind(name)
    raise ValueError(
        "model must be the name of a published ESM model or the path of a checkpoint, or 'org/name' on "
        f"the Hugging Face Hub; got {name!r}. {suggestion(name)}"
    )


def check_kind(name: str) -> None:
    """Raise ValueError if a name or repository is that of a known model which is not supported."""
    owner, _, own = name.lower().rpartition("/")
    if owner and owner not in _THEIR_OWNERS:
        return
    for beginning, kind in _OTHER_KINDS.items():
        if own.startswith(beginning):
            raise ValueError(
                "model must be a sequence model (ESM-2, ESM-1b, ESM-1v, ESM-1 or ESM C); got "
                f"{name!r}, {kind}. It is not supported. Pass a sequence model, such as "
                "'esm2_t33_650M_UR50D' or 'esmc_600m'."
            )


def suggestion(name: str) -> str:
    """Return a sentence with the names or repositories that are most like a mistyped one."""
    names = [*CATALOG, *ESMC, *ALIASES, BUNDLED_MODEL]
    own = name.split("@")[0].rsplit("/", 1)[-1]
    matches = _closest(name.split("@")[0], KNOWN_REPOSITORIES) if "/" in name else []
    matches = matches or _closest(own, names)
    if not matches:
        return f"Published models: {', '.join([*ESMC, *CATALOG])}."
    return f"Did you mean {' or '.join(map(repr, matches))}?"


def _closest(wanted: str, names: list[str]) -> list[str]:
    known = {name.lower(): name for name in names}
    return [known[match] for match in difflib.get_close_matches(wanted.lower(), known)]
