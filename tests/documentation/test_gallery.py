"""Gallery scripts run as a user runs them, and their numbers say what their words say.

Bounds are wide of what was measured with the bundled model; shuffles are few, to be quick.
"""

import re

import pytest

pytestmark = pytest.mark.no_cover


def rows_of(text, columns):
    """Rows of so many cells that end in a number; two spaces or more stand between cells."""
    rows = [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    return [row for row in rows if len(row) == columns and re.fullmatch(r"-?[\d.e-]+%?", row[-1])]


def means_of(printed):
    """The means in rows such as ``one-hot  0.835 ± 0.037  0.000 ± 0.000``, by the name of the row."""
    number = r"(-?[\d.]+) ± [\d.]+"
    rows = re.findall(rf"^(\w[\w -]*?) {{2,}}((?:{number} *)+)$", printed, re.MULTILINE)
    return {name: [float(mean) for mean in re.findall(number, cells)] for name, cells, _ in rows}


def test_quickstart_compares_the_embedding_with_composition(output_of):
    printed = output_of("quickstart")
    auc = {row[0]: float(row[1]) for row in rows_of(printed, 6)}
    assert set(auc) == {"composition", "embedding"}
    assert 0.85 < auc["composition"] < auc["embedding"]
    assert "The embedding is better in 5 of 5 folds." in printed
    assert re.search(r"^Picture: .*quickstart\.png$", printed, re.MULTILINE)


def test_variant_effects_scores_every_kind_of_features_on_both_splits(output_of):
    scores = means_of(output_of("variant_effects"))
    assert set(scores) == {"zero-shot", "one-hot", "embedding", "augmented"}
    assert scores["one-hot"] == pytest.approx(
        [0.835, 0], abs=0.02
    )  # it predicts nothing at new positions
    assert scores["embedding"] == pytest.approx([0.670, 0.375], abs=0.06)
    assert scores["augmented"] == pytest.approx([0.844, 0.376], abs=0.06)
    assert scores["zero-shot"] == pytest.approx([0, 0], abs=0.15)


def test_one_hot_hardly_gains_from_more_than_400_variants(output_of):
    printed = output_of("learning_curve", SIZES="[100, 400, 800], 3")
    scores = means_of(printed)
    one_hot, embedding, both = scores["one-hot"], scores["embedding"], scores["both"]
    assert one_hot[1] - one_hot[0] > 0.05
    assert one_hot[2] == pytest.approx(one_hot[1], abs=0.03)
    assert all(alone < hot - 0.1 for alone, hot in zip(embedding, one_hot, strict=True))
    assert both[2] == pytest.approx(one_hot[2], abs=0.02)
    assert both[0] < one_hot[0]


def test_a_table_of_mutations_ends_in_a_saved_model(output_of):
    printed = output_of("mutation_table")
    found = {
        row[0]: float(row[1])
        for row in re.findall(r"^([\w-]+) +(-?[\d.]+) +-?[\d.]+ to -?[\d.]+$", printed, re.MULTILINE)
    }
    assert set(found) == {"zero-shot", "one-hot", "embedding", "augmented"}
    assert found["one-hot"] == 0  # it has seen nothing of these positions
    assert max(map(abs, found.values())) < 0.4
    assert "[209, 209, 209, 209, 209] per fold" in printed
    assert re.search(r"^p.Asp40Tyr +-?[\d.]+$", printed, re.MULTILINE)


def test_a_greedy_choice_finds_more_than_chance(output_of):
    printed = output_of("which_variants_next")
    found = {name: means[0] for name, means in means_of(printed).items()}
    assert set(found) == {"expected improvement", "greedy", "random"}
    assert found["greedy"] > 1.4 * found["random"]
    assert found["expected improvement"] == pytest.approx(found["random"], abs=2)


def test_intervals_hold_for_random_variants_and_not_for_new_positions(output_of):
    printed = output_of("prediction_intervals", COVERAGE="0.9, 6")
    covered = {row[0]: [float(cell) for cell in row[1:4]] for row in rows_of(printed, 5)}
    assert covered["random variants"][0] == pytest.approx(0.9, abs=0.05)
    assert covered["new positions"][0] < 0.8
    assert covered["new positions"][2] < 0.9  # no split reaches the promise


def test_both_chains_give_a_better_score_than_one(output_of):
    printed = output_of("pairs_of_proteins", PAIRS="400, 5")
    auc = {name: float(mean) for name, mean, _, _ in rows_of(printed, 4)}
    assert auc["first chain alone"] < min(auc["composition of both"], auc["embedding of both"])


@pytest.mark.usefixtures("third_of_the_data")
def test_a_whole_search_needs_one_pass_of_each_peptide(output_of):
    printed = output_of("grid_search_layers", LAYERS="[3, 6]")
    passes = {what: int(number.replace(",", "")) for what, number, _ in rows_of(printed, 3)}
    assert passes == {
        "no cache, 2 candidates": 2 * 5 * 102,
        "no cache, all: 6 x that, not run": 12 * 5 * 102,
        "precompute into a folder": 102,
        "search of all candidates": 0,
        "search again, new estimator": 0,
    }

    best = {tuple(row[:2]): float(row[3]) for row in rows_of(printed, 5)}
    classifiers, poolings = ("logistic regression", "support vector machine"), ("mean", "max", "bos")
    assert set(best) == {(classifier, pooling) for classifier in classifiers for pooling in poolings}
    assert min(best.values()) > 0.85

    uncached, cached, first, again = map(float, re.findall(r"\b0\.\d{4}\b", printed))
    assert uncached == pytest.approx(cached, abs=0.002)  # a pair of peptides may change places
    assert first == pytest.approx(again, abs=0.002)


def test_relatives_help_a_nearest_neighbour(output_of):
    pytest.importorskip("pyopal")
    printed = output_of("homology_aware_cv", SHUFFLES=3)
    rows = [[name, *map(float, cells)] for name, *cells in rows_of(printed.replace("%", ""), 5)]
    thresholds, clusters, largest = (row[1:] for row in rows[:3])
    assert thresholds == [80, 70, 60, 50]
    assert clusters == [294, 277, 250, 225]
    assert largest == [5, 5, 6, 7]
    logistic, nearest = ({name: values for name, *values in some} for some in (rows[3:8], rows[8:13]))
    for scores in (nearest, logistic):
        for random, together, difference in zip(
            scores["accuracy, random folds"],
            scores["accuracy, folds of clusters"],
            scores["difference"],
            strict=True,
        ):
            assert 0.8 < together < 0.95
            assert random - together == pytest.approx(difference, abs=0.0011)  # each is rounded
    # 0.027 +- 0.013 and 0.007 +- 0.011 of ten shuffles
    assert 0 < nearest["difference"][3] < 0.06
    assert nearest["shuffles above 0"][3] == 3
    assert -0.03 < logistic["difference"][3] < 0.04


def test_selection_outside_the_folds_finds_signal_in_shuffled_labels(output_of):
    printed = output_of("leak_of_feature_selection", SHUFFLES=4)
    scores = {tuple(row[:2]): [float(cell) for cell in row[2:]] for row in rows_of(printed, 5)}
    assert set(scores) == {
        (step, labels) for step in ("SelectKBest", "PCA") for labels in ("shuffled", "real")
    }
    # of 20 shuffles: 0.73 and 0.53, 0.97 and 0.93; of PCA 0.51 twice, 0.95 twice
    outside, inside, leak = scores["SelectKBest", "shuffled"]
    assert outside > 0.65
    assert 0.35 < inside < 0.65
    assert leak == pytest.approx(outside - inside, abs=0.0011)
    assert leak > 0.08
    assert 0 < scores["SelectKBest", "real"][2] < leak
    assert abs(scores["PCA", "shuffled"][2]) < 0.05
    assert abs(scores["PCA", "real"][2]) < 0.02


def test_columns_of_a_structure_add_to_the_embedding(output_of):
    pytest.importorskip("pandas")
    printed = output_of("assay_columns", REPEATS="2, 5")
    scores = {name: [float(cell) for cell in cells] for name, *cells in rows_of(printed, 4)}
    assert set(scores) == {
        "new residue",
        "embedding",
        "structure",
        "structure + new residue",
        "structure + embedding",
    }
    # of ten shuffles: 0.169, 0.362, 0.436, 0.473, 0.517
    assert 0.1 < scores["new residue"][0] < 0.25
    assert 0.25 < scores["embedding"][0] < scores["structure + embedding"][0] - 0.05 < 0.6
    adds, *_ = re.findall(r"([+-][.\d]+)  \(", printed)
    assert float(adds) == pytest.approx(
        scores["structure + embedding"][0] - scores["embedding"][0], abs=0.0011
    )


def test_columns_of_the_structure_are_those_of_domain_b1(output_of):
    pytest.importorskip("pandas")
    printed = output_of("assay_columns", REPEATS="1, 5")
    # of the interface in the paper of 1FCC: N35 is near, Q2 and K13 on the other side of the domain
    rows = {
        row[1]: row[2:] for row in (line.split()[1:] for line in printed.splitlines()) if len(row) == 8
    }
    assert rows["N35A"] == ["35", "A", "H", "56.0", "10.0", "2.4"]
    assert rows["K13A"][2:] == ["E", "52.0", "11.0", "13.7"]


def test_a_vector_says_more_than_its_residue_and_no_more_than_a_window(output_of):
    printed = output_of("per_residue", WINDOW="15, 5, 200")
    q3 = {
        name: float(score)
        for name, score in re.findall(
            r"^(\w[\w ]+?) +\d+ +(0\.\d{3}) +0\.\d{3} to", printed, re.MULTILINE
        )
    }
    assert set(q3) == {"residue alone", "window of 15", "last layer and window"} | {
        f"layer {layer}" for layer in (0, 2, 4, 6)
    }
    # all of the same residues: 0.473, 0.610 and 0.619; layers 0.473, 0.573, 0.595 and 0.600
    assert q3["layer 0"] == pytest.approx(q3["residue alone"], abs=0.002)
    assert q3["layer 6"] > q3["layer 0"] + 0.1
    assert q3["layer 6"] == pytest.approx(q3["window of 15"], abs=0.02)
    assert q3["last layer and window"] > q3["layer 6"] + 0.01
    differences = re.findall(r"([+-][.\d]+)  \(([+-][.\d]+) to ([+-][.\d]+)\)", printed)
    (gain, *_), (against_window, low, high), *_ = [[float(cell) for cell in row] for row in differences]
    assert gain == pytest.approx(q3["layer 6"] - q3["layer 0"], abs=0.0011)
    assert low < against_window < high
    assert low < 0 < high


@pytest.mark.usefixtures("third_of_the_data")
def test_one_line_gives_the_numbers_of_fair_esms_snippet(output_of):
    printed = output_of("migrating_from_fair_esm")
    differences = {what: float(worst) for what, _, _, worst in rows_of(printed, 4)}
    assert set(differences) == {"mean, last layer", "mean, middle layer", "residues, last layer"}
    assert 0 < max(differences.values()) < 1e-6  # the promise is 1e-5
    assert "'*' at position 9" in printed
    assert "'-' at position 5" in printed
