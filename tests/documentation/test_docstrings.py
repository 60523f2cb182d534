"""Docstrings of public names: an example with output, related names that exist, and references."""

import doctest
import importlib
import inspect
import re

import pytest
from test_docs import PUBLIC_MODULES

PUBLIC = [
    f"{module}.{name}" for module in PUBLIC_MODULES for name in importlib.import_module(module).__all__
]
# methods and data of the literature; scikit-learn's own techniques and plain utilities have no source
FROM_THE_LITERATURE = [
    "sklearn_esm.ESMContactTransformer",
    "sklearn_esm.ESMEmbeddingTransformer",
    "sklearn_esm.ESMLikelihoodTransformer",
    "sklearn_esm.baselines.OneHotResidues",
    "sklearn_esm.datasets.fetch_beta_lactamase",
    "sklearn_esm.datasets.fetch_gfp",
    "sklearn_esm.datasets.load_gb1",
    "sklearn_esm.datasets.read_proteingym",
    "sklearn_esm.display.ContactMapDisplay",
    "sklearn_esm.model_selection.identity_groups",
    "sklearn_esm.model_selection.position_groups",
    "sklearn_esm.recipes.suggest_candidates",
    "sklearn_esm.variants.apply_mutations",
]


def resolve(name, module="sklearn_esm"):
    """The object that a name of See Also stands for: a whole path, or a name of the same module."""
    path = name if name.startswith("sklearn_esm.") else f"{module}.{name}"
    parts = path.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


def sections(name):
    """The sections of a docstring by title, in their order."""
    text = inspect.getdoc(resolve(name))
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_show_output_that_a_doctest_checks(name):
    examples = doctest.DocTestParser().get_examples(sections(name)["Examples"])
    checked = [example for example in examples if example.want and doctest.SKIP not in example.options]
    downloads = name.rpartition(".")[2].startswith("fetch_")
    assert checked or downloads
    assert any(example.want for example in examples)


@pytest.mark.parametrize("name", PUBLIC)
def test_see_also_names_things_that_exist(name):
    module = name.rpartition(".")[0]
    names = re.findall(r"^(\S[^:\n]*?)(?: :|$)", sections(name)["See Also"], re.MULTILINE)
    assert names
    for entry in names:
        for other in entry.split(", "):
            if not other.startswith("sklearn."):
                assert callable(resolve(other, module))


@pytest.mark.parametrize("name", FROM_THE_LITERATURE)
def test_methods_and_data_of_the_literature_have_references(name):
    assert re.search(r"\b(19|20)\d\d\b", sections(name)["References"])


@pytest.mark.parametrize("name", PUBLIC)
def test_sections_are_in_the_order_of_numpydoc(name):
    order = ["Parameters", "Attributes", "Returns", "Raises", "Warns", "See Also", "Notes", "References"]
    present = list(sections(name))
    assert present == [title for title in [*order, "Examples"] if title in present]
