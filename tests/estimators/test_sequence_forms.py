"""Every form in which sequences arrive, and those that are refused, all by value."""

import re

import numpy as np
import pytest
from three_estimators import CASES, assert_same_rows

from sklearn_esm._sequences import clean_sequences

MODEL = "esm2_t6_8M_UR50D"
SEQUENCES = ["MKTAYIAKQR", "GIGKFLHSAKKF", "MKTAYIAKQR", "A"]
WITH_GAP = ["MKT", None, "GIG"]


def clean(X, invalid="error", missing="error"):
    return clean_sequences(X, invalid=invalid, missing=missing)


# Input forms


@pytest.mark.parametrize(
    "X",
    [
        SEQUENCES,
        tuple(SEQUENCES),
        np.array(SEQUENCES),
        np.array(SEQUENCES, dtype=object),
        np.array(SEQUENCES)[:, None],
        np.array(SEQUENCES, dtype=object)[:, None],
        [[s] for s in SEQUENCES],
        [(s,) for s in SEQUENCES],
        [np.array([s]) for s in SEQUENCES],
        [np.str_(s) for s in SEQUENCES],
        [(f"protein {i}", s) for i, s in enumerate(SEQUENCES)],
        [SEQUENCES[0], ("label", SEQUENCES[1]), [SEQUENCES[2]], np.str_(SEQUENCES[3])],
        dict(enumerate(SEQUENCES)).values(),
        np.ma.array(SEQUENCES),
    ],
    ids=lambda X: type(X).__name__,
)
def test_forms_of_numpy_and_python_equal_the_list(X):
    result = clean(X)
    assert result == SEQUENCES
    assert {type(sequence) for sequence in result} == {str}


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="needs numpy 2")
def test_numpy_variable_width_strings():
    assert clean(np.array(SEQUENCES, dtype=np.dtypes.StringDType())) == SEQUENCES
    with_nan = np.array(["MKT", np.nan, "GIG"], dtype=np.dtypes.StringDType(na_object=np.nan))
    assert clean(with_nan, missing="nan") == WITH_GAP


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_pandas(dtype):
    pd = pytest.importorskip("pandas")
    column = pd.Series(SEQUENCES, index=[7, 7, 3, 0], name="seq", dtype=dtype)
    assert clean(column) == SEQUENCES
    assert clean(column.to_frame()) == SEQUENCES
    assert clean(column.array) == SEQUENCES
    assert clean(pd.Index(column)) == SEQUENCES
    assert clean(pd.Series(WITH_GAP, dtype=dtype), missing="nan") == WITH_GAP
    assert clean(pd.DataFrame({"seq": column, "y": 0})[["seq"]]) == SEQUENCES


def test_pandas_arrow_column():
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    dtype = pd.ArrowDtype(pa.string())
    assert clean(pd.Series(SEQUENCES, dtype=dtype)) == SEQUENCES
    assert clean(pd.Series(WITH_GAP, dtype=dtype).to_frame(), missing="nan") == WITH_GAP


@pytest.mark.parametrize("name", ["columns", "tocsr", "seq", "column_names"])
def test_pandas_column_named_like_an_attribute(name):
    pd = pytest.importorskip("pandas")
    assert clean(pd.DataFrame({name: SEQUENCES})) == SEQUENCES


def test_polars():
    pl = pytest.importorskip("polars")
    column = pl.Series("seq", SEQUENCES)
    assert clean(column) == SEQUENCES
    assert clean(column.cast(pl.Categorical)) == SEQUENCES
    assert clean(column.to_frame()) == SEQUENCES
    assert clean(pl.Series(WITH_GAP), missing="nan") == WITH_GAP
    with pytest.raises(ValueError, match=r"X must have one column; got 2 columns \('seq', 'y'\)"):
        clean(pl.DataFrame({"seq": SEQUENCES, "y": [0, 1, 0, 1]}))
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        clean(pl.DataFrame())
    with pytest.raises(TypeError, match="X must be a list or column of sequences; got LazyFrame"):
        clean(column.to_frame().lazy())


def test_pyarrow():
    pa = pytest.importorskip("pyarrow")
    assert clean(pa.array(SEQUENCES)) == SEQUENCES
    assert clean(pa.array(SEQUENCES).dictionary_encode()) == SEQUENCES
    assert clean(pa.chunked_array([SEQUENCES[:1], SEQUENCES[1:]])) == SEQUENCES
    assert clean(pa.table({"seq": SEQUENCES})) == SEQUENCES
    assert clean(pa.RecordBatch.from_pydict({"seq": SEQUENCES})) == SEQUENCES
    assert clean(pa.array(WITH_GAP), missing="nan") == WITH_GAP
    with pytest.raises(ValueError, match=r"X must have one column; got 2 columns \('seq', 'y'\)"):
        clean(pa.table({"seq": SEQUENCES, "y": [0, 1, 0, 1]}))


def test_biopython():
    Seq = pytest.importorskip("Bio.Seq")
    SeqRecord = pytest.importorskip("Bio.SeqRecord").SeqRecord
    sequences = [Seq.Seq(s) for s in SEQUENCES]
    assert clean(sequences) == SEQUENCES
    assert clean([Seq.MutableSeq(s) for s in SEQUENCES]) == SEQUENCES
    assert clean([SeqRecord(s, id="x") for s in sequences]) == SEQUENCES
    assert clean([("label", s) for s in sequences]) == SEQUENCES
    assert clean([SeqRecord(None), SeqRecord(Seq.Seq(""))], missing="nan") == [None, None]
    for alone in (sequences[0], SeqRecord(sequences[0])):
        with pytest.raises(
            ValueError,
            match=r"X must be a list or column of sequences; got a single .*\. Pass \[sequence\]",
        ):
            clean(alone)
    with pytest.raises(ValueError, match="Row 1 must be a Biopython Seq with content"):
        clean(["MKT", Seq.Seq(None, length=10)])


def test_object_with_array_protocol_only():
    class ArrayLike:
        def __array__(self, dtype=None, copy=None):
            return np.array(SEQUENCES)[:, None]

    assert clean(ArrayLike()) == SEQUENCES


def labelled(sequences):
    return [(f"protein {row}", sequence) for row, sequence in enumerate(sequences)]


def records(sequences):
    Seq = pytest.importorskip("Bio.Seq")
    SeqRecord = pytest.importorskip("Bio.SeqRecord").SeqRecord
    return [SeqRecord(Seq.Seq(sequence)) for sequence in sequences]


FORMS = {
    "tuple": tuple,
    "array": np.array,
    "column of an array": lambda sequences: np.array(sequences, dtype=object)[:, None],
    "labelled pairs": labelled,
    "Biopython": records,
    "pandas column": lambda sequences: pytest.importorskip("pandas").Series(sequences),
    "pandas frame": lambda sequences: pytest.importorskip("pandas").DataFrame({"seq": sequences}),
    "polars column": lambda sequences: pytest.importorskip("polars").Series(sequences),
    "polars frame": lambda sequences: pytest.importorskip("polars").DataFrame({"seq": sequences}),
    "pyarrow column": lambda sequences: pytest.importorskip("pyarrow").array(sequences),
    "pyarrow table": lambda sequences: pytest.importorskip("pyarrow").table({"seq": sequences}),
    "other writing": lambda sequences: [f" {sequence.lower()}\n" for sequence in sequences],
}


@pytest.mark.parametrize(
    ("name", "form"),
    [*(("embedding", form) for form in FORMS), *((name, "pandas frame") for name in [*CASES][1:])],
)
def test_an_estimator_gives_the_rows_of_the_list_for_every_form(checkpoint, name, form):
    case = CASES[name]
    expected = case.new(checkpoint).fit_transform(case.sequences)
    X = FORMS[form](case.sequences)
    assert_same_rows(case.new(checkpoint).fit_transform(X), expected)


# Refused inputs


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (
            "MKTAYI",
            ValueError,
            "X must be a list or column of sequences; got a single str. Pass [sequence].",
        ),
        (np.str_("MKTAYI"), ValueError, "got a single str_. Pass [sequence]."),
        (b"MKTAYI", TypeError, "got bytes. Pass [X.decode()]."),
        ({"a": "MKT"}, TypeError, "got dict. Pass list(X.values())."),
        ({"MKT"}, TypeError, "X must have an order; got set. Pass sorted(X)."),
        (frozenset({"MKT"}), TypeError, "X must have an order; got frozenset."),
        ((s for s in SEQUENCES), TypeError, "got generator. Pass list(X)"),
        (iter(SEQUENCES), TypeError, "got list_iterator. Pass list(X)"),
        (None, TypeError, "got NoneType. Pass list(X)"),
        (3, TypeError, "got int. Pass list(X)"),
        ([], ValueError, "Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is"),
        (np.array([], dtype=str), ValueError, "Found array with 0 sample(s) (shape=(0,)) while"),
        (np.empty((0, 1), dtype=object), ValueError, "0 sample(s) (shape=(0, 1)) while a minimum"),
        (np.empty((3, 0), dtype=object), ValueError, "0 feature(s) (shape=(3, 0)) while a minimum"),
        (
            np.array([["p1", "MKT"]]),
            ValueError,
            "X must have one column; got 2 columns (0, 1). Select",
        ),
        (np.full((1, 12), "A"), ValueError, "got 12 columns (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)"),
        (np.full((2, 1, 1), "A"), ValueError, "Found array with dim 3 (shape=(2, 1, 1))"),
        (np.array("MKT"), ValueError, "Found array with dim 0"),
        (["MKT", b"MKT"], TypeError, "Row 1 must be a string; got bytes. Decode it"),
        (np.array([b"MKT"]), TypeError, "Row 0 must be a string; got bytes. Decode it"),
        (
            ["MKT", 7],
            TypeError,
            "Row 1 must be a string; got 7 (type int). Pass strings such as",
        ),
        (np.array([[1.5]]), TypeError, "Row 0 must be a string; got 1.5 (type float)."),
        (["MKT", {"s": "MKT"}], TypeError, "Row 1 must be a string; got {'s': 'MKT'} (type dict)"),
        ([True], TypeError, "Row 0 must be a string; got True (type bool)"),
        (
            [("p", "MKT"), ("p", 7)],
            TypeError,
            "Row 1 is a pair (label, sequence), whose sequence must be a string; got 7",
        ),
        ([("p", ["MKT"])], TypeError, "whose sequence must be a string; got ['MKT'] (type list)"),
        ([["MKT"], ["M", "K", "T"]], ValueError, "Row 1 must be one sequence; got a list of 3 items"),
        ([["p", "MKT"]], ValueError, "write labelled sequences as tuples (label, sequence)"),
        ([[]], ValueError, "Row 0 must be one sequence; got a list of 0 items"),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),  # where an object lies is chance
)
def test_refused(X, error, message):
    with pytest.raises(error, match=re.escape(message)):
        clean(X)


def test_sparse_matrix_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="X must hold sequences; got the sparse matrix csr_array"):
        clean(sparse.csr_array(np.eye(3)))


def test_pandas_frames_without_exactly_one_column_are_refused():
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"X must have one column; got 2 columns \('id', 'seq'\)"):
        clean(pd.DataFrame({"id": ["a"], "seq": ["MKT"]}))
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"):
        clean(pd.DataFrame(index=range(3)))
    with pytest.raises(ValueError, match=r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum of 1"):
        clean(pd.DataFrame({"seq": []}))
    with pytest.raises(TypeError, match=r"Row 0 must be a string; got 0\.5 \(type float\)"):
        clean(pd.Series([0.5]))


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ({"invalid": "ignore"}, "invalid must be 'error', 'unknown', 'mask' or 'drop'; got 'ignore'."),
        ({"missing": "NaN"}, "missing must be 'error' or 'nan'; got 'NaN'."),
    ],
)
def test_unknown_policy_is_refused(policies, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        clean(SEQUENCES, **policies)
