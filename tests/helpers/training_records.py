"""What `train` writes about a model, from plain scikit-learn runs on the bundled data."""

import json
from itertools import product

import numpy as np
from scipy.stats import spearmanr
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    balanced_accuracy_score,
    matthews_corrcoef,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import OneHotResidues, ResidueComposition
from sklearn_esm.datasets import load_gb1, load_peptides

MODEL = "esm2_t6_1M_bundled"


def regression_record():
    """Ridge on GB1, with folds that keep positions together, and layers of a search."""
    gb1 = load_gb1()
    embed = ESMEmbeddingTransformer(MODEL, layer=2)
    features = {
        "model": embed.fit_transform(gb1.data),
        "one-hot": OneHotResidues(reference=gb1.reference).fit_transform(gb1.data),
    }
    splits = list(GroupKFold(5).split(gb1.data, groups=gb1.positions))
    scores, held_out = _evaluated(
        features, gb1.target, splits, Ridge(100.0), DummyRegressor(), _regression
    )
    layers = _searched(gb1.data, gb1.target, splits)
    given = {"kind": "mutations", "column": "mutant", "target": "fitness", "reference": gb1.reference}
    return _record("regression", None, "ridge", given, scores, held_out, layers)


def classification_record(n_classes=2):
    """Logistic regression on the peptides; three classes are made by splitting one by length."""
    peptides = load_peptides()
    sequences = np.array(peptides.data, dtype=object)
    names = np.array(peptides.target_names, dtype=object)[peptides.target]
    if n_classes == 3:
        is_long = np.array([len(sequence) > 30 for sequence in sequences])
        names = np.where((peptides.target == 1) & is_long, "long " + names, names)
    features = {
        "model": ESMEmbeddingTransformer(MODEL, layer=2).fit_transform(sequences),
        "composition": ResidueComposition().fit_transform(sequences),
    }
    splits = list(StratifiedKFold(5, shuffle=True, random_state=0).split(sequences, names))
    estimator = LogisticRegression(C=0.1, max_iter=1000)
    score = _binary if n_classes == 2 else _several
    scores, held_out = _evaluated(features, names, splits, estimator, DummyClassifier(), score)
    given = {"kind": "sequences", "column": "sequence", "target": "class", "reference": None}
    classes = sorted(set(names.tolist()))
    return _record("classification", classes, "logistic", given, scores, held_out, None)


def _searched(sequences, y, splits):
    """R² of ridge on each layer and pooling."""
    embed = ESMEmbeddingTransformer(MODEL, layer="all", pooling=["mean", "max"])
    X = embed.fit_transform(sequences)
    names = embed.get_feature_names_out().astype(str)
    entries = []
    for layer, pooling in product(range(7), ("mean", "max")):
        some = X[:, np.char.find(names, f"_L{layer}_{pooling}_") >= 0]
        found = cross_val_score(make_pipeline(StandardScaler(), Ridge(100.0)), some, y, cv=splits)
        entries.append({"layer": layer, "pooling": pooling, "mean": found.mean(), "std": found.std()})
    return entries


def _record(task, classes, estimator, given, scores, held_out, layers):
    options = "--mutations mutant --reference wt.fasta" if layers else "--sequence sequence"
    record = {
        "sklearn_esm": "0.1.0",
        "versions": {"python": "3.12.1", "torch": "2.6.0", "scikit-learn": "1.8.0", "numpy": "2.3.0"},
        "command": f"sklearn-esm train table.csv -o model.skops {options} --target {given['target']}",
        "task": task,
        "classes": classes,
        "input": {
            "id": None,
            "first_position": 1,
            "rows": len(held_out["row"]) + 2,
            "rows_without_target": 2,
            "duplicates": 0,
            **given,
        },
        "estimator": estimator,
        "features": ["embedding"],
        "model": MODEL,
        "model_fingerprint": "0123456789abcdef" * 4,
        "best_params": {"estimator__alpha": 100.0, "features__layer": 2},
        "group": "positions" if layers else "none",
        "n_groups": 55 if layers else None,
        "folds": 5,
        "seed": 0,
        "types": ["sklearn_esm._embedding.ESMEmbeddingTransformer"],
        "metric": next(iter(scores["model"])),
        "scores": scores,
        "layers": layers,
        "out_of_fold": held_out,
        "warnings": [] if layers else ["Relatives are in different folds. Pass --group identity."],
        "measured": {"highest": None, "lowest": None, "digests": []},
    }
    return json.loads(json.dumps(record, allow_nan=False))


def _evaluated(features, y, splits, estimator, dummy, score):
    """Scores by fold of the estimator on each kind of features and of a dummy, and predictions."""
    scores, held_out = {}, {"row": [], "measured": [], "predicted": [], "fold": []}
    probabilities = []
    for label in [*features, "dummy"]:
        X = features.get(label, features["model"])
        model = make_pipeline(StandardScaler(), dummy if label == "dummy" else estimator)
        scores[label] = {}
        for fold, (train, test) in enumerate(splits):
            model.fit(X[train], y[train])
            for name, value in score(model, X[test], y[test]).items():
                scores[label].setdefault(name, []).append(value if np.isfinite(value) else None)
            if label == "model":
                held_out["row"] += test.tolist()
                held_out["measured"] += y[test].tolist()
                held_out["predicted"] += model.predict(X[test]).tolist()
                held_out["fold"] += [fold] * len(test)
                if hasattr(model, "predict_proba"):
                    probabilities += model.predict_proba(X[test]).tolist()
    return scores, {**held_out, "probabilities": probabilities or None}


def _regression(model, X, y):
    predicted = model.predict(X)
    is_constant = np.ptp(predicted) == 0
    return {
        "spearman": np.nan if is_constant else float(spearmanr(y, predicted).statistic),
        "r2": r2_score(y, predicted),
        "rmse": root_mean_squared_error(y, predicted),
    }


def _binary(model, X, y):
    classes = model.classes_
    area = roc_auc_score(y == classes[1], model.predict_proba(X)[:, 1])
    return {"roc_auc": area, **_several(model, X, y)}


def _several(model, X, y):
    predicted = model.predict(X)
    return {
        "balanced_accuracy": balanced_accuracy_score(y, predicted),
        "mcc": matthews_corrcoef(y, predicted),
    }
