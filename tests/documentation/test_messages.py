"""Each message that the page "Troubleshooting" lists is raised by what the page names as its cause."""

import re
from pathlib import Path

import pandas as pd
import pytest
from fair_esm_oracle import save_random_checkpoint
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.variants import apply_mutations

PAGE = Path(__file__).parents[2] / "docs" / "faq.md"
BUNDLED = "esm2_t6_1M_bundled"
REFERENCE = "MKTAYIAKQR"


def fit(X, model=BUNDLED, **parameters):
    return lambda: ESMEmbeddingTransformer(model, **parameters).fit(X)


def marginals():
    score = ESMLikelihoodTransformer(BUNDLED, method="masked-marginals", reference=REFERENCE)
    return score.fit(["MKTAYIAKQ"])


def without_a_gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        patch.setattr("torch.cuda.device_count", lambda: 0)
        ESMEmbeddingTransformer(BUNDLED, device="cuda", cache=None).fit_transform([REFERENCE])


def other_weights():
    path = save_random_checkpoint(Path("model.pt"), "esm2").path
    embed = ESMEmbeddingTransformer(path, cache=None).fit([REFERENCE])
    save_random_checkpoint(Path("other.pt"), "esm2", seed=1).path.replace(path)
    embed.transform([REFERENCE])


CASES = {
    "which is not in ESM's alphabet": fit(["MKT*"]),
    "is missing: found": fit([None]),
    "looks like a mutation": fit(["A24G"]),
    "as the reference has": lambda: apply_mutations(REFERENCE, ["A2G"]),
    "Marginals score substitutions only": marginals,
    "must have at most 1,022 residues": fit(["A" * 1023], max_length=1022),
    "got a single str": fit("MKT"),
    "got the path": fit("proteins.fasta"),
    "X must have one column": fit(pd.DataFrame({"sequence": ["MKT"], "ph": [7.0]})),
    "model must be the name of": fit(["MKT"], model="esm2_t6_1M_bundle"),
    "layer must be 0 to 6": fit(["MKT"], layer=33),
    "device must be present": without_a_gpu,
    "model must have a contact regression": lambda: ESMContactTransformer("esm1v_t33_650M_UR90S_1").fit(
        [REFERENCE]
    ),
    "SKLEARN_ESM_OFFLINE forbids": fit(["MKT"], model="esm2_t36_3B_UR50D"),
    "estimator was fitted with": other_weights,
}


def rows(heading):
    """Return the messages in the first column of the table below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)


def test_each_message_of_the_page_is_a_case_and_each_case_a_message():
    assert rows("Messages of this package") == list(CASES)


@pytest.mark.parametrize("message", CASES)
def test_message_is_raised_by_its_cause(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("SKLEARN_ESM_OFFLINE", "1")
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        CASES[message]()


def test_states_of_residues_before_a_scaler_raise_the_message_of_numpy():
    model = make_pipeline(ESMEmbeddingTransformer(BUNDLED, pooling=None), StandardScaler())
    assert "setting an array element with a sequence" in rows("Messages of other packages")
    with pytest.raises(ValueError, match="setting an array element with a sequence"):
        model.fit([REFERENCE, "MKT"])
