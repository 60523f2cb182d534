import re

import esm.pretrained
import pytest

from sklearn_esm._checkpoints._catalog import (
    ALIASES,
    BUNDLED_MODEL,
    CATALOG,
    ESMC,
    KNOWN_REPOSITORIES,
    check_kind,
    published_model,
)


def test_the_17_sequence_models_are_there():
    families = [model.family for model in CATALOG.values()]
    assert {family: families.count(family) for family in families} == {
        "esm2": 6,
        "esm1b": 1,
        "esm1v": 5,
        "esm1": 5,
    }
    assert BUNDLED_MODEL not in CATALOG


@pytest.mark.parametrize("name", [*CATALOG, *ALIASES])
def test_fair_esm_has_the_model_under_this_name(name):
    assert callable(getattr(esm.pretrained, name))


def test_no_sequence_model_of_fair_esm_is_missing():
    published = {name for name in vars(esm.pretrained) if re.match(r"esm(1|1b|1v|2)_t\d", name)}
    assert published == {*CATALOG, *ALIASES}


@pytest.mark.parametrize("model", CATALOG.values(), ids=CATALOG)
def test_family_layers_and_parameters_are_those_in_the_name(model):
    family, layers, parameters = re.match(r"(esm\w+?)_t(\d+)_(\d+[MB])_", model.name).groups()
    assert model.family == family
    assert model.layers == int(layers)
    assert model.parameters == int(parameters[:-1]) * {"M": 10**6, "B": 10**9}[parameters[-1]]


@pytest.mark.parametrize("model", CATALOG.values(), ids=CATALOG)
def test_shape_gives_the_parameters_in_the_name(model):
    # a block holds 12 width^2 weights and little else; the names are rounded, 8M most of all (7.5M)
    embeddings = 35 * model.width + (1026 * model.width if model.max_length else 0)
    expected = 12 * model.layers * model.width**2 + embeddings
    assert expected == pytest.approx(model.parameters, rel=0.08)
    assert model.width % model.heads == 0


@pytest.mark.parametrize(
    ("name", "width", "heads", "max_length"),
    [
        ("esm2_t6_8M_UR50D", 320, 20, None),
        ("esm2_t12_35M_UR50D", 480, 20, None),
        ("esm2_t30_150M_UR50D", 640, 20, None),
        ("esm2_t33_650M_UR50D", 1280, 20, None),
        ("esm2_t36_3B_UR50D", 2560, 40, None),
        ("esm2_t48_15B_UR50D", 5120, 40, None),
        ("esm1b_t33_650M_UR50S", 1280, 20, 1022),
        ("esm1v_t33_650M_UR90S_5", 1280, 20, 1022),
        ("esm1_t34_670M_UR100", 1280, 20, None),
        ("esm1_t12_85M_UR50S", 768, 12, None),
        ("esm1_t6_43M_UR50S", 768, 12, None),
    ],
)
def test_width_heads_and_limit(name, width, heads, max_length):
    model = published_model(name)
    assert (model.name, model.width, model.heads, model.max_length) == (
        name,
        width,
        heads,
        max_length,
    )


def test_alias_is_the_first_of_the_five_esm1v_models():
    assert published_model("esm1v_t33_650M_UR90S") is CATALOG["esm1v_t33_650M_UR90S_1"]


@pytest.mark.parametrize(
    ("name", "layers", "width", "heads", "millions"),
    [
        ("esmc_300m", 30, 960, 15, 333),
        ("esmc_600m", 36, 1152, 18, 575),
        ("esmc_6b", 80, 2560, 40, 6350),
    ],
)
def test_shapes_of_esmc(name, layers, width, heads, millions):
    model = published_model(name)
    shape = (model.family, model.layers, model.width, model.heads, model.max_length)
    assert shape == ("esmc", layers, width, heads, None)
    feed_forward = -(-(8 * width // 3) // 256) * 256
    weights = layers * (4 * width**2 + 3 * width * feed_forward) + width**2 + 2 * 64 * width
    assert weights == pytest.approx(millions * 10**6, rel=0.01)
    assert model.parameters == pytest.approx(weights, rel=0.12)


def test_the_sources_of_esmc():
    assert {name: model.hub.repository for name, model in ESMC.items()} == {
        "esmc_300m": "biohub/ESMC-300M",
        "esmc_600m": "biohub/ESMC-600M",
        "esmc_6b": "biohub/ESMC-6B",
    }
    for name in ("esmc_300m", "esmc_600m"):
        assert re.fullmatch("[0-9a-f]{40}", ESMC[name].hub.commit)
        assert re.fullmatch("[0-9a-f]{64}", ESMC[name].hub.sha256)
    assert (ESMC["esmc_6b"].hub.commit, ESMC["esmc_6b"].hub.sha256) == (None, None)


def test_every_licence_is_known():
    assert {model.licence for model in (*CATALOG.values(), *ESMC.values())} == {"MIT"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("esm_msa1_t12_100M_UR50S", "an MSA Transformer, which needs alignments"),
        ("esm_msa1b_t12_100M_UR50S", "an MSA Transformer, which needs alignments"),
        ("esm_if1_gvp4_t16_142M_UR50", "an ESM-IF model, which needs structures"),
        ("esmfold_v0", "an ESMFold model, which predicts structures"),
        ("esmfold_v1", "an ESMFold model, which predicts structures"),
        ("esmfold_structure_module_only_8M", "an ESMFold model, which predicts structures"),
        ("facebook/esmfold_v1", "an ESMFold model, which predicts structures"),
        ("esm3-sm-open-v1", "an ESM3 model, which generates sequences and structures"),
        ("EvolutionaryScale/esm3-sm-open-v1", "an ESM3 model, which generates sequences"),
        ("Rostlab/prot_t5_xl_uniref50", "a ProtT5 model"),
        ("Rostlab/ProstT5", "a ProstT5 model"),
        ("Rostlab/prot_bert_bfd", "a ProtBERT model"),
        ("ElnaggarLab/ankh-base", "an Ankh model"),
        ("westlake-repl/SaProt_650M_AF2", "a SaProt model, which needs structures"),
        ("InstaDeepAI/nucleotide-transformer-500m-human-ref", "a model of DNA"),
        ("Synthyra/ESMplusplus_small", "an ESM++ model, a copy of ESM C in another format"),
    ],
)
def test_other_kinds_are_refused_by_name_with_the_reason(name, reason):
    with pytest.raises(ValueError, match="must be a sequence model ") as refusal:
        published_model(name)
    assert f"got {name!r}, {reason}" in str(refusal.value)
    assert "It is not supported." in str(refusal.value)


@pytest.mark.parametrize("name", [*KNOWN_REPOSITORIES, "me/esm3-distilled", "me/ankh", "facebook/bart"])
def test_a_repository_is_refused_by_name_only_if_the_owner_has_such_models(name):
    check_kind(name)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("esm2_t33_650M_UR50S", "esm2_t33_650M_UR50D"),
        ("ESM2_T6_8M_UR50D", "esm2_t6_8M_UR50D"),
        ("https://huggingface.co/facebook/esm2_t36_3B_UR50D", "facebook/esm2_t36_3B_UR50D"),
        ("facebook/esm2_t36_3B_UR50S", "facebook/esm2_t36_3B_UR50D"),
        ("biohub/ESMC-300", "biohub/ESMC-300M"),
        ("ESMC_600M", "esmc_600m"),
        ("esmc-300m", "esmc_300m"),
        ("esm2_t6_1M_bundle", BUNDLED_MODEL),
    ],
)
def test_a_typo_gets_the_closest_name_first(typo, meant):
    with pytest.raises(ValueError, match="name of a published ESM model or the path") as refusal:
        published_model(typo)
    assert f"got {typo!r}. Did you mean {meant!r}" in str(refusal.value)


def test_a_name_like_no_other_gets_the_whole_list():
    with pytest.raises(ValueError, match="Published models: ") as refusal:
        published_model("bert")
    assert all(name in str(refusal.value) for name in (*CATALOG, *ESMC))
