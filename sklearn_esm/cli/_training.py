"""Train a model of a property: read, check, embed once, score by nested cross-validation, and write."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from sklearn_esm._cache import MEMORY_CACHE
from sklearn_esm._checkpoints._architecture import Architecture
from sklearn_esm._checkpoints._identity import identify_model
from sklearn_esm._parameters import published_architecture, resolve_layers
from sklearn_esm.cli import _record
from sklearn_esm.cli._drafts import draft_of
from sklearn_esm.cli._errors import say
from sklearn_esm.cli._folds import Folds, as_text, make_folds, warn_of_relatives
from sklearn_esm.cli._training_data import Duplicates, Source, TrainingData, read_training_data
from sklearn_esm.recipes import make_property_search
from sklearn_esm.recipes._estimators import checked_task, dummy_estimator
from sklearn_esm.recipes._nested import OutOfFold, fitted, out_of_fold, scores_by_fold

_GAUSSIAN_PROCESS_ROWS = 5000  # from which one fit takes minutes and more than a gigabyte


@dataclass(frozen=True)
class Plan:
    """What a training run does."""

    source: Source
    output: Path
    command: str
    task: str | None
    estimator: str | None  # None is ridge, or logistic for classification
    features: list[str]
    layers: Any
    poolings: list[str]
    parameters: dict[str, Any]  # of the transformers: model, invalid, cache, device, ...
    group: str
    identity: float
    folds: int
    duplicates: Duplicates
    seed: int
    quiet: bool
    shows_progress: bool

    def search(self, features: list[str], layers: Any, data: TrainingData, cv: Any) -> Any:
        """Return the unfitted search over some features."""
        scoring = {"spearman": "r2"}.get(_record.metric_of(data), _record.metric_of(data))
        return make_property_search(
            self.estimator or "ridge",
            task=data.target.task,
            features=features,
            layers=layers,
            poolings=self.poolings,
            mutations=self.source.mutations is not None,
            reference=self.source.reference,
            first_position=self.source.first_position,
            cv=cv,
            scoring=scoring,
            random_state=self.seed,
            **self.parameters,
        )


def train_model(plan: Plan) -> None:
    """Train a model, score it, and write the pipeline, the record and the report.

    Raises
    ------
    ValueError
        If a column, a row or an option is invalid.
    OSError
        If a file cannot be read or written.
    """
    with _notes() as notes, ExitStack() as stack:
        data = _read(plan, notes)
        if plan.estimator is None:
            plan = replace(plan, estimator="logistic" if data.target.classes else "ridge")
        checked_task(plan.estimator, data.target.task)
        folds = _folds(plan, data, notes)
        layers = _resolved_layers(plan)
        plan = stack.enter_context(_cached(plan, data, layers))
        search = plan.search(plan.features, layers, data, folds.inner)
        _run_model(search, data, plan)
        baseline = _baseline_of(plan, data)
        models = {
            "model": search,
            baseline: plan.search([baseline], -1, data, folds.inner),
            "dummy": dummy_estimator(data.target.task),
        }
        found, scores = _scored(models, data, folds, plan)
        chosen = fitted(
            search,
            data.X[folds.scored],
            data.y[folds.scored],
            np.arange(len(folds.scored)),
            folds.groups,
        )
        pipeline = getattr(chosen, "best_estimator_", chosen)
        if len(folds.scored) < len(data):  # the final model also learns from rows that are not scored
            pipeline = clone(pipeline).fit(data.X, data.y)
        # a folder or a device of this machine would be wrong on another one
        transformers = transformers_of(pipeline)
        for transformer in transformers:
            transformer.set_params(cache=None, device=None)
    record = _record.record_of(
        plan.command,
        data,
        estimator=plan.estimator,
        features=plan.features,
        model=plan.parameters["model"] if transformers else None,
        model_fingerprint=transformers[0].model_fingerprint_ if transformers else None,
        best_params=getattr(chosen, "best_params_", {}),
        group=plan.group,
        identity=plan.identity if plan.group == "identity" else None,
        n_groups=folds.n_groups,
        folds=plan.folds,
        seed=plan.seed,
        types=[],
        metric=_record.metric_of(data),
        scores=scores,
        layers=_record.layers_of(chosen),
        out_of_fold=_record.predictions_of(data, folds, found),
        warnings=notes.texts,
    )
    _write(pipeline, record, plan.output)
    if not plan.quiet:
        say(_summary(record))
        say(f"Wrote {plan.output}, and beside it the same name with .json and .html.")


def transformers_of(pipeline: Pipeline) -> list[Any]:
    """Return the transformers of a pipeline that run a language model."""
    features = pipeline.named_steps["features"]
    parts = dict(getattr(features, "transformer_list", [("", features)])).values()
    return [part for part in parts if hasattr(part, "cache")]


class _Notes:
    """What the user should know: shown as it happens, and kept for the record."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)
            say(f"Warning: {text}")


@contextmanager
def _notes() -> Iterator[_Notes]:
    """Collect notes, and the warnings of libraries among them."""
    notes = _Notes()
    with warnings.catch_warnings():
        # a kernel without noise, or one that ignores the features, is an answer
        warnings.filterwarnings("ignore", "The optimal value found for dimension")
        warnings.showwarning = lambda message, *rest, **more: notes(str(message))
        yield notes


def _read(plan: Plan, notes: _Notes) -> TrainingData:
    data = read_training_data(plan.source, plan.task, notes)
    data.clean(plan.parameters["invalid"])
    data.resolve_duplicates(plan.duplicates)
    if not plan.quiet:
        classes = f" of {len(data.target.classes)} classes" if data.target.classes else ""
        say(f"{data.target.task.capitalize()}{classes} on {len(data):,} rows.")
    return data


def _folds(plan: Plan, data: TrainingData, notes: _Notes) -> Folds:
    folds = make_folds(data, plan.group, plan.identity, plan.folds, plan.seed, notes)
    warn_of_relatives(data, folds, plan.group, notes)
    if plan.estimator == "gaussian-process" and len(data) > _GAUSSIAN_PROCESS_ROWS:
        notes(
            f"A Gaussian process on {len(data):,} rows is slow: its time grows with their cube, and its "
            "memory with their square. Pass --estimator ridge or svm if it takes too long."
        )
    return folds


def _resolved_layers(plan: Plan) -> Any:
    if "embedding" not in plan.features:
        return -1
    try:
        layers = resolve_layers(plan.layers, _architecture(plan.parameters["model"]).layers)
    except ValueError as error:  # the transformer has one layer, and its parameter another name
        raise ValueError(f"--{str(error).replace('layer must', 'layers must', 1)}") from error
    return plan.layers if isinstance(plan.layers, int) else layers


@contextmanager
def _cached(plan: Plan, data: TrainingData, layers: Any) -> Iterator[Plan]:
    """Yield the plan, with a temporary cache folder if the memory cannot keep all vectors."""
    model = plan.parameters["model"]
    if plan.parameters["cache"] != "memory" or "embedding" not in plan.features:
        yield plan
        return
    vectors = len(set(data.sequences)) * len(np.atleast_1d(layers)) * len(plan.poolings)
    # half of the memory, because likelihoods are kept there too
    if 4 * vectors * _architecture(model).width <= MEMORY_CACHE.max_bytes // 2:
        yield plan
        return
    with tempfile.TemporaryDirectory(prefix="sklearn-esm-") as folder:
        yield replace(plan, parameters={**plan.parameters, "cache": folder})


def _architecture(model: str) -> Architecture:
    return published_architecture(model) or identify_model(model).architecture


def _baseline_of(plan: Plan, data: TrainingData) -> str:
    aligned = len(set(map(len, data.sequences))) == 1 and plan.parameters["invalid"] != "drop"
    # one-hot residues predict the same value for all variants of a position that was not trained on
    return "one-hot" if aligned and plan.group != "positions" else "composition"


def _run_model(search: Any, data: TrainingData, plan: Plan) -> None:
    """Run the model once on each distinct sequence, after a check of every row."""
    before = Pipeline(search.estimator.steps[:-2])
    with data.rows_named():
        before.fit(data.X)
    sequences = [as_text(sequence) for sequence in data.sequences]
    grid = search.param_grid
    for transformer in transformers_of(before):
        transformer = clone(transformer).set_params(verbose=plan.shows_progress)
        if hasattr(transformer, "precompute"):
            layers, poolings = (
                next(
                    (grid[name] for name in grid if name.endswith(f"__{key}")), getattr(transformer, key)
                )
                for key in ("layer", "pooling")
            )
            transformer.precompute(sequences, layers, poolings)
        else:
            transformer.fit_transform(sequences)


def _scored(
    models: dict[str, Any], data: TrainingData, folds: Folds, plan: Plan
) -> tuple[OutOfFold, dict[str, dict[str, list[float]]]]:
    """Return the out-of-fold predictions of the model, and the scores of every model."""
    X, y = data.X[folds.scored], data.y[folds.scored]
    found = {}
    with tqdm(
        desc="Scoring", total=len(models) * len(folds.splits), disable=not plan.shows_progress
    ) as bar:
        for name, model in models.items():
            found[name] = out_of_fold(model, X, y, folds.splits, folds.groups, bar.update)
    scores = {
        name: scores_by_fold(y, one, folds.splits, data.target.task) for name, one in found.items()
    }
    return found["model"], scores


def _write(pipeline: Pipeline, record: dict[str, Any], output: Path) -> None:
    from sklearn_esm.cli._report import html_report
    from sklearn_esm.cli._saved_model import save_pipeline

    with tempfile.TemporaryDirectory() as folder, ExitStack() as drafts:
        saved = Path(folder) / output.name
        record["types"] = save_pipeline(pipeline, saved)
        content = saved.read_bytes()
        record["pipeline_sha256"] = sha256(content).hexdigest()
        # the last draft gets its name first, so the pipeline appears when the others are there
        contents = {
            output: content,
            output.with_suffix(".html"): html_report(record).encode(),
            output.with_suffix(".json"): _record.as_json(record).encode(),
        }
        for path, text in contents.items():
            drafts.enter_context(draft_of(path)).write_bytes(text)


def _summary(record: dict[str, Any]) -> str:
    metric = record["metric"]
    parts = []
    for name, scores in record["scores"].items():
        values = [value for value in scores[metric] if value is not None]
        parts.append(f"{name} {np.mean(values):.3f}" if values else f"{name} undefined")
    return f"Mean {metric} over {record['folds']} folds: {', '.join(parts)}."
