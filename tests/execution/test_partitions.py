"""A partition of a table gets a column of vectors; no engine is needed for these tests."""

import pickle
import re
from functools import partial

import numpy as np
import pytest
from cluster_tasks import SEQUENCES
from fair_esm_oracle import LAYERS, assert_faithful, fair_esm_residues, save_random_checkpoint
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_esm import ESMEmbeddingTransformer, distributed
from sklearn_esm.distributed import embed_partition, partition_meta

pa = pytest.importorskip("pyarrow")
LISTS = pa.list_(pa.float32())
COLUMNS = {
    "id": [f"P{row}" for row in range(len(SEQUENCES))],
    "sequence": SEQUENCES,
    "length": list(map(len, SEQUENCES)),
}


def pandas_frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def polars_frame(columns):
    return pytest.importorskip("polars").DataFrame(columns)


TABLES = {"pandas": pandas_frame, "polars": polars_frame, "pyarrow": pa.table}


@pytest.fixture(params=TABLES)
def table_of(request):
    """A function that makes a table of columns, of each library in turn."""
    return TABLES[request.param]


def embedded_by(checkpoint, frame, **parameters):
    estimator = ESMEmbeddingTransformer(checkpoint.path, **parameters)
    return embed_partition(frame, column="sequence", estimator=estimator)


def as_arrow(frame):
    """Return a table of any of the libraries as one of pyarrow."""
    if isinstance(frame, pa.Table):
        return frame
    if hasattr(frame, "to_arrow"):
        return frame.to_arrow()
    return pa.Table.from_pandas(frame, preserve_index=False)


def matrix(frame):
    return np.array(as_arrow(frame)["embedding"].to_pylist(), dtype=np.float32)


def types(frame):
    """Return the type of each column."""
    if isinstance(frame, pa.Table):
        return dict(zip(frame.column_names, frame.schema.types, strict=True))
    return dict(zip(frame.columns, frame.dtypes, strict=True))


# What is returned


def test_vectors_are_fair_esms(checkpoint, table_of):
    given = table_of(COLUMNS)
    returned = embedded_by(checkpoint, given)
    assert type(returned) is type(given)
    expected = np.stack([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)])
    assert_faithful(matrix(returned), expected)


def test_other_columns_and_their_order_stay(checkpoint, table_of):
    returned = as_arrow(embedded_by(checkpoint, table_of(COLUMNS)))
    assert returned.column_names == [*COLUMNS, "embedding"]
    assert returned.select(list(COLUMNS)).to_pydict() == COLUMNS


def test_a_table_without_rows_has_the_same_types(checkpoint, table_of):
    given = table_of(COLUMNS)
    nowhere = ESMEmbeddingTransformer("/nowhere/mine.pt")
    empty = embed_partition(given[:0], column="sequence", estimator=nowhere)
    assert len(empty) == 0
    assert types(empty) == types(embedded_by(checkpoint, given))


def test_the_type_is_a_list_of_float32(checkpoint, table_of):
    returned = embedded_by(checkpoint, table_of(COLUMNS))
    assert as_arrow(returned).schema.field("embedding").type in (LISTS, pa.large_list(pa.float32()))


def test_a_parquet_file_is_read_by_each_library(checkpoint, table_of, tmp_path):
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    file = tmp_path / "vectors.parquet"
    returned = embedded_by(checkpoint, table_of(COLUMNS))
    if isinstance(returned, pd.DataFrame):
        returned.to_parquet(file)
    elif isinstance(returned, pl.DataFrame):
        returned.write_parquet(file)
    else:
        pytest.importorskip("pyarrow.parquet").write_table(returned, file)
    expected = matrix(returned)
    assert_array_equal(np.stack(pd.read_parquet(file)["embedding"].tolist()), expected)
    assert_array_equal(np.stack(pl.read_parquet(file)["embedding"].to_list()), expected)


def test_the_index_and_the_types_of_pandas_stay(checkpoint):
    pd = pytest.importorskip("pandas")
    given = pd.DataFrame(COLUMNS, index=range(100, 100 + len(SEQUENCES))).astype(
        {"id": "category", "sequence": "string[pyarrow]", "length": "int16"}
    )
    returned = embedded_by(checkpoint, given)
    pd.testing.assert_frame_equal(returned.drop(columns="embedding"), given)
    assert list(given) == list(COLUMNS)  # a copy


def test_a_matrix_is_divided_where_offsets_of_arrow_end(checkpoint, monkeypatch):
    whole = matrix(embedded_by(checkpoint, pa.table(COLUMNS)))
    monkeypatch.setattr(distributed, "_MAX_OFFSET", 3 * whole.shape[1] + 1)
    divided = embedded_by(checkpoint, pa.table(COLUMNS))
    assert_array_equal(matrix(divided), whole)
    assert [len(chunk) for chunk in divided["embedding"].chunks] == [3] * 6 + [2]


def test_layers_and_poolings_are_those_of_transform(checkpoint, table_of):
    parameters = {"layer": [-1, 0], "pooling": ["max", "bos"]}
    expected = ESMEmbeddingTransformer(checkpoint.path, **parameters).fit_transform(SEQUENCES)
    assert_array_equal(matrix(embedded_by(checkpoint, table_of(COLUMNS), **parameters)), expected)


def test_a_missing_sequence_is_a_list_of_nan(checkpoint, table_of):
    given = table_of({"sequence": ["MKT", None, "MKT"]})
    first, missing, last = matrix(embedded_by(checkpoint, given, missing="nan"))
    assert np.isnan(missing).all()
    assert np.isfinite(first).all()
    assert_array_equal(first, last)


def test_meta_is_the_table_without_rows(checkpoint, table_of):
    given = table_of(COLUMNS)
    options = {"column": "sequence", "estimator": ESMEmbeddingTransformer(checkpoint.path), "name": "v"}
    meta = partition_meta(given, **options)
    assert len(meta) == 0
    assert list(types(meta)) == [*COLUMNS, "v"]
    assert types(meta) == types(embed_partition(given, **options))


# What runs, and what is kept


def test_the_estimator_is_not_changed(checkpoint):
    estimator = ESMEmbeddingTransformer(checkpoint.path, n_jobs=2)
    embed_partition(pa.table(COLUMNS), column="sequence", estimator=estimator)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    assert (estimator.cache, estimator.n_jobs) == ("memory", 2)


@pytest.mark.parametrize("fitted", [False, True])
def test_everything_runs_in_this_process_whatever_n_jobs_is(checkpoint, embedded, fitted):
    estimator = ESMEmbeddingTransformer(checkpoint.path, n_jobs=2, batch_tokens=60)
    if fitted:
        estimator.fit(SEQUENCES)
    embed_partition(pa.table(COLUMNS), column="sequence", estimator=estimator)
    assert sorted(embedded) == sorted(SEQUENCES)


def test_nothing_is_kept_in_the_memory_of_a_worker(checkpoint):
    embedded_by(checkpoint, pa.table(COLUMNS), cache="memory")
    assert ESMEmbeddingTransformer(checkpoint.path).cache_info().vectors == 0


def test_a_folder_is_used(checkpoint, folder, embedded):
    for _ in range(2):
        embedded_by(checkpoint, pa.table(COLUMNS), cache=folder)
    assert sorted(embedded) == sorted(SEQUENCES)
    assert ESMEmbeddingTransformer(cache=folder).cache_info().vectors == len(SEQUENCES)


def test_the_output_of_scikit_learn_does_not_matter(checkpoint):
    pytest.importorskip("pandas")
    expected = matrix(embedded_by(checkpoint, pa.table(COLUMNS)))
    estimator = ESMEmbeddingTransformer(checkpoint.path).set_output(transform="pandas")
    returned = embed_partition(pa.table(COLUMNS), column="sequence", estimator=estimator)
    assert_array_equal(matrix(returned), expected)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_task_is_small(checkpoint, fitted):
    estimator = ESMEmbeddingTransformer(checkpoint.path, layer=[0, 1, -1], cache="/scratch/vectors")
    if fitted:
        estimator.fit(SEQUENCES)
    task = partial(embed_partition, column="sequence", estimator=estimator)
    assert len(pickle.dumps(task)) < 1500


# Errors


@pytest.fixture
def wrong(table_of):
    """A table of three rows of which the second has a wrong sequence."""
    return table_of({"id": ["P1", "P2", "P3"], "sequence": ["MKT", "MKJT", "GIG"], "taxon": [1, 2, 3]})


def test_a_wrong_sequence_is_named_with_its_row(checkpoint, wrong):
    message = re.escape(
        "Sequence 1 (MKJT) has 'J' at position 3, which is not in ESM's alphabet. Set "
        "invalid='unknown', 'mask' or 'drop' to accept it. In the same row of the partition: id='P2', "
        "taxon=2."
    )
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        embedded_by(checkpoint, wrong)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_wrong_sequence_of_a_table_of_one_column_is_named(checkpoint, table_of):
    message = r"^Sequence 0 is missing: found (None|nan)\. Set missing='nan' .* remove the row\.$"
    with pytest.raises(ValueError, match=message):
        embedded_by(checkpoint, table_of({"sequence": [None, "MKT"]}))


def test_a_row_is_shortened_in_a_message(checkpoint):
    given = pa.table({"sequence": ["MKJT"], "comment": ["x" * 500]})
    with pytest.raises(ValueError, match=r"partition: comment='x{188}\.\.\.\.$"):
        embedded_by(checkpoint, given)


@pytest.mark.parametrize("rows", [0, 3])
def test_columns_are_checked_also_without_rows(checkpoint, wrong, rows):
    estimator = ESMEmbeddingTransformer(checkpoint.path)
    message = r"^column must be one of \['id', 'sequence', 'taxon'\]; got 'seq'\.$"
    with pytest.raises(ValueError, match=message):
        embed_partition(wrong[:rows], column="seq", estimator=estimator)
    message = "^name must not be a column of the partition; got 'taxon'. Pass another name.$"
    with pytest.raises(ValueError, match=message):
        embed_partition(wrong[:rows], column="sequence", estimator=estimator, name="taxon")
    with pytest.raises(ValueError, match=r"^dtype must be .*; got 'float64'"):
        embed_partition(
            wrong[:rows], column="sequence", estimator=ESMEmbeddingTransformer(dtype="float64")
        )


@pytest.mark.parametrize("frame", [{"sequence": np.array(["MKT"])}, [{"sequence": "MKT"}]])
def test_other_tables_are_refused(checkpoint, frame):
    with pytest.raises(TypeError, match=rf"got {type(frame).__name__}\. Pass batch_format='pyarrow'"):
        embedded_by(checkpoint, frame)


def test_other_estimators_are_refused(checkpoint):
    pipeline = make_pipeline(ESMEmbeddingTransformer(checkpoint.path), PCA())
    with pytest.raises(TypeError, match=r"^estimator must be an ESMEmbeddingTransformer; got Pipeline"):
        embed_partition(pa.table(COLUMNS), column="sequence", estimator=pipeline)


def test_arrays_of_residues_are_refused_before_anything_runs(checkpoint, embedded):
    with pytest.raises(
        ValueError, match=r"^pooling must reduce each sequence to one vector; got None\."
    ):
        embedded_by(checkpoint, pa.table(COLUMNS), pooling=None)
    assert embedded == []


def test_a_fitted_estimator_refuses_other_weights(tmp_path):
    path = tmp_path / "mine.pt"
    save_random_checkpoint(path, "esm2")
    estimator = ESMEmbeddingTransformer(path).fit(SEQUENCES)
    save_random_checkpoint(path, "esm2", seed=1)
    with pytest.raises(ValueError, match="must be those this estimator was fitted with"):
        embed_partition(pa.table(COLUMNS), column="sequence", estimator=estimator)
