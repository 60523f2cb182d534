"""What is wrong with parameters and sequences is said before gigabytes are fetched for them."""

import re
import shutil
import threading

import numpy as np
import pytest
import torch
from mirror import Mirror

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._checkpoints._catalog import CATALOG
from sklearn_esm._parameters import published_architecture

ESM2 = "esm2_t33_650M_UR50D"
ESM1B = "esm1b_t33_650M_UR50S"
ESM1V = "esm1v_t33_650M_UR90S"  # an alias
ESM1 = "esm1_t34_670M_UR50S"
KINDS = [ESMEmbeddingTransformer, ESMLikelihoodTransformer, ESMContactTransformer]
LONG = "A" * 1023
LAYERS_OF_650M = "must be 0 to 33, or -1 to -34 from the end, because the model has 33 blocks; got"


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """Torch hub's folder of checkpoints, without one."""
    for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("SKLEARN_ESM_MIRROR", server.url)
        yield server
        server.shutdown()
        thread.join()


def fails(residues):
    raise RuntimeError("my own mistake")


TOO_LONG = "(AAAAAAAAAAAAAAAAA...) must have at most 1,022 residues"
OF_ALL = [
    (ESM2, {}, ["MKT", "MKT*"], ValueError, "Sequence 1 (MKT*) has '*' at position 4"),
    (ESM2, {"invalid": "drop"}, ["Q2A"], ValueError, "Sequence 0 (Q2A) looks like a mutation"),
    (ESM2, {}, ["MKT", None], ValueError, "Sequence 1 is missing: found None."),
    (ESM2, {}, np.array(["MKT", np.nan]), ValueError, "Sequence 1 is the text 'nan'"),
    (ESM2, {}, ["MKT", 7], TypeError, "Row 1 must be a string; got 7 (type int)"),
    (ESM2, {}, "MKT", ValueError, "X must be a list or column of sequences; got a single str"),
    (ESM2, {}, [], ValueError, "Found array with 0 sample(s)"),
    (
        ESM2,
        {"max_length": 5},
        ["MKT", "MKTAYI"],
        ValueError,
        "Sequence 1 (MKTAYI) must have at most 5 residues",
    ),
    (
        ESM1B,
        {},
        ["MKT", LONG],
        ValueError,
        f"Sequence 1 {TOO_LONG}",
    ),
    (
        ESM1B,
        {"max_length": 1023},
        ["MKT"],
        ValueError,
        "max_length must be None or at most 1,022",
    ),
    (ESM2, {"invalid": "x"}, ["MKT"], ValueError, "invalid must be"),
    (ESM2, {"missing": "x"}, ["MKT"], ValueError, "missing must be"),
    (ESM2, {"overlong": "x"}, ["MKT"], ValueError, "overlong must be"),
    (ESM2, {"dtype": "x"}, ["MKT"], ValueError, "dtype must be"),
    (ESM2, {"device": "x"}, ["MKT"], ValueError, "device must be None"),
    (ESM2, {"verbose": "x"}, ["MKT"], TypeError, "verbose must be"),
    (ESM2, {"cache": "/dev/null/c"}, ["MKT"], ValueError, "cache must be"),
]
OF_EACH = {
    ESMEmbeddingTransformer: [
        (
            ESM1V,
            {},
            [LONG],
            ValueError,
            f"Sequence 0 {TOO_LONG}",
        ),
        (ESM2, {"layer": 34}, ["MKT"], ValueError, f"layer {LAYERS_OF_650M} 34."),
        (ESM2, {"layer": [0, -35]}, ["MKT"], ValueError, f"layer {LAYERS_OF_650M} -35."),
        (ESM2, {"layer": [33, -1]}, ["MKT"], ValueError, "layer must not repeat a layer"),
        (ESM2, {"pooling": "avg"}, ["MKT"], ValueError, "pooling must be None,"),
        (ESM2, {"pooling": fails}, ["MKT"], RuntimeError, "my own mistake"),
        (ESM1, {"pooling": ["mean", "eos"]}, ["MKT"], ValueError, "pooling must not be 'eos'"),
    ],
    ESMLikelihoodTransformer: [
        (
            ESM1V,
            {},
            [LONG],
            ValueError,
            f"Sequence 0 {TOO_LONG}",
        ),
        (ESM2, {"method": "x"}, ["MKT"], ValueError, "method must be"),
        (ESM2, {"method": "wt-marginals"}, ["MKT"], ValueError, "reference must be a sequence for"),
        (
            ESM2,
            {"reference": "MK*"},
            ["MKT"],
            ValueError,
            "reference must be a sequence of residues. Sequence 0 (MK",
        ),
        (
            ESM1B,
            {"reference": LONG},
            [LONG],
            ValueError,
            "reference must be a sequence of residues. Sequence 0 (A",
        ),
        (
            ESM1B,
            {"reference": "A", "max_length": 1023},
            ["A"],
            ValueError,
            "max_length must be None or at most 1,022",
        ),
        (ESM2, {}, ["MKT", "<mask>"], ValueError, "Sequence 1 has only <mask>"),
        (
            ESM2,
            {"method": "masked-marginals", "reference": "MKTA"},
            ["MKTA", "MKT"],
            ValueError,
            "Sequence 1 (MKT) has 3 residues, and the reference has 4.",
        ),
        (
            ESM2,
            {"method": "masked-marginals", "reference": "MKT"},
            ["M<mask>T"],
            ValueError,
            "Sequence 0 has <mask> at position 2, and the reference has 'K'",
        ),
    ],
    ESMContactTransformer: [
        (ESM1V, {}, ["MKT"], ValueError, f"model must have a contact regression; got {ESM1V}"),
        (ESM2, {"output": "x"}, ["MKT"], ValueError, "output must be"),
        (ESM2, {"overlong": "window"}, ["MKT"], ValueError, "overlong must be"),
    ],
}
REFUSED = [(kind, *case) for kind in KINDS for case in [*OF_ALL, *OF_EACH[kind]]]


@pytest.mark.parametrize(("kind", "model", "parameters", "X", "error", "message"), REFUSED)
def test_fit_refuses_before_anything_is_downloaded(
    mirror, hub, kind, model, parameters, X, error, message
):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        kind(model, **parameters).fit(X)
    assert mirror.requests == []
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "parameters", "arguments", "message"),
    [
        (ESM2, {}, {"X": ["MKT*"]}, "Sequence 0 (MKT*) has '*' at position 4"),
        (ESM1B, {}, {"X": [LONG]}, f"Sequence 0 {TOO_LONG}"),
        (
            ESM1B,
            {"max_length": 1023},
            {},
            "max_length must be None or at most 1,022, the limit of esm1b",
        ),
        (ESM2, {}, {"layers": 34}, f"layer {LAYERS_OF_650M} 34."),
        (ESM2, {}, {"poolings": ["mean", "avg"]}, "pooling must be None,"),
        (ESM1, {}, {"poolings": "eos"}, "pooling must not be 'eos'"),
        (ESM2, {"cache": None}, {}, "precompute must have a cache"),
        (ESM2, {"pooling": fails}, {}, "precompute must have a cache"),
        (ESM2, {"dtype": "x"}, {}, "dtype must be"),
    ],
)
def test_precompute_refuses_before_anything_is_downloaded(mirror, model, parameters, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ESMEmbeddingTransformer(model, **parameters).precompute(**{"X": ["MKT"], **arguments})
    assert mirror.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_transform_refuses_a_sequence_before_the_weights_are_downloaded_again(
    mirror, hub, checkpoints, kind
):
    name = "esm1b_t33_650M_UR50S"
    shutil.copy(checkpoints["esm1b"].path, hub / f"{name}.pt")
    regression = checkpoints["esm1b"].path.with_name("esm1b-contact-regression.pt")
    shutil.copy(regression, hub / f"{name}-contact-regression.pt")
    fitted = kind(name).fit(["MKT"])
    (hub / f"{name}.pt").unlink()
    for sequence in ("MKT*", LONG):
        with pytest.raises(ValueError, match=r"^Sequence 1 "):
            fitted.transform(["MKT", sequence])
    assert mirror.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_is_downloaded_for(mirror, kind):
    mirror.status = 404
    with pytest.raises(FileNotFoundError, match="answered HTTP 404"):
        kind(ESM1B).fit([LONG[:1022], "MK<mask>"])
    assert [path for path, _, _ in mirror.requests] == [f"/models/{ESM1B}.pt"]


# The command line


@pytest.fixture
def command():
    import command_line

    return command_line


@pytest.mark.parametrize(
    ("options", "sequence", "code", "message"),
    [
        ([], "MKT*", 1, "{fasta}: record 2, 'b' (MKT*) has '*' at position 4"),
        ([], "Q2A", 1, "{fasta}: record 2, 'b' (Q2A) looks like a mutation"),
        (
            ["--max-length", "5"],
            "MKTAYI",
            1,
            "{fasta}: record 2, 'b' (MKTAYI) must have at most 5 residues",
        ),
        (
            ["--model", ESM1B],
            LONG,
            1,
            "{fasta}: record 2, 'b' (AAAAAAAAAAAAAAAAA...) must have at most 1,022 residues",
        ),
        (["--model", ESM1B, "--max-length", "1023"], "A", 2, "--max-length must be at most 1,022"),
        (["--layer", "34"], "MKT", 2, f"--layer {LAYERS_OF_650M} 34."),
        (["--pooling", "avg"], "MKT", 2, "--pooling must be 'mean',"),
        (["--model", ESM1, "--pooling", "eos"], "MKT", 2, "--pooling must not be 'eos', because"),
    ],
)
def test_the_command_line_refuses_before_anything_is_downloaded(
    mirror, command, tmp_path, options, sequence, code, message
):
    fasta = tmp_path / "proteins.fasta"
    fasta.write_text(f">a\nMKT\n>b\n{sequence}\n")
    result = command.run("embed", fasta, "-o", tmp_path / "out.npz", "--model", ESM2, *options)
    assert (result.exit_code, result.stdout, mirror.requests) == (code, "", [])
    assert message.format(fasta=fasta) in result.stderr


@pytest.mark.parametrize("options", [["--layer", "34"], ["--model", ESM1B, "--max-length", "1023"]])
def test_the_command_line_refuses_wrong_options_before_it_reads_records(
    mirror, command, tmp_path, options
):
    arguments = (tmp_path / "absent.fasta", "-o", tmp_path / "out.npz", "--model", ESM2, *options)
    assert (command.run("embed", *arguments).exit_code, mirror.requests) == (2, [])


# A file may be of another shape than the model that it is named like


@pytest.fixture
def small(hub, checkpoints):
    """A published name whose file has 3 blocks and takes 40 residues."""
    shutil.copy(checkpoints["esm1b"].path, hub / f"{ESM1B}.pt")
    regression = checkpoints["esm1b"].path.with_name("esm1b-contact-regression.pt")
    shutil.copy(regression, hub / f"{ESM1B}-contact-regression.pt")
    return ESM1B


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_in_the_end_that_of_the_file(small, kind):
    with pytest.raises(
        ValueError, match=rf"^Sequence 1 .* must have at most 40 residues for {small}; got 41"
    ):
        kind(small).fit(["MKT", "A" * 41])
    with pytest.raises(ValueError, match=r"^max_length must be None or at most 40"):
        kind(small, max_length=41).fit(["MKT"])


def test_the_layers_are_in_the_end_those_of_the_file(small):
    assert ESMEmbeddingTransformer(small, layer=-1).fit(["MKT"]).layers_ == [3]
    with pytest.raises(ValueError, match=r"^layer must be 0 to 3, .* the model has 3 blocks; got 4"):
        ESMEmbeddingTransformer(small, layer=4).fit(["MKT"])
    with pytest.raises(ValueError, match=r"^layer must be 0 to 3, .* the model has 3 blocks; got 4"):
        ESMEmbeddingTransformer(small).precompute(["MKT"], layers=4)


# What is known of a model by its name


@pytest.mark.parametrize("name", CATALOG)
def test_a_published_model_has_the_architecture_of_its_entry(name):
    entry, architecture = CATALOG[name], published_architecture(name)
    assert architecture.family == {"esm1v": "esm1b"}.get(entry.family, entry.family)
    assert architecture.has_eos == (entry.family != "esm1")
    for fact in ("layers", "width", "heads", "max_length"):
        assert getattr(architecture, fact) == getattr(entry, fact)


def test_nothing_is_known_of_a_path_or_the_bundled_model_before_it_is_read(checkpoint):
    assert published_architecture(checkpoint.path) is None
    assert published_architecture("esm2_t6_1M_bundled") is None


def test_a_name_that_nobody_published_is_refused_first(mirror):
    for kind in KINDS:
        with pytest.raises(ValueError, match="Did you mean 'esm2_t6_8M_UR50D'"):
            kind("esm2_t6_8M_UR50S").fit(["MKT*"])
    assert mirror.requests == []
