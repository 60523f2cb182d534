"""The documentation: its code runs and prints what it says, and no public name or script is missing."""

import ast
import doctest
import importlib
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

import sklearn_esm

pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "index.md", DOCS / "install.md", DOCS / "faq.md", *sorted(DOCS.glob("user_guide/*.md"))]
PUBLIC_MODULES = [
    "sklearn_esm",
    "sklearn_esm.baselines",
    "sklearn_esm.datasets",
    "sklearn_esm.display",
    "sklearn_esm.distributed",
    "sklearn_esm.variants",
    "sklearn_esm.model_selection",
    "sklearn_esm.recipes",
]
LIKE_DOCTEST = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

_BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """The kind and code of each block with the output that follows it, None where none does."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    for (kind, code), (next_kind, text) in pairwise([*found, ("", "")]):
        if kind != "text":
            yield kind, code, text if next_kind == "text" else None


def run_command(line):
    """Print what a command prints."""
    from command_line import run  # needs the extra cli

    name, *arguments = shlex.split(line)
    assert name == "sklearn-esm"
    result = run(*arguments)
    print(result.output, end="")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(blocks(page))],
    ids=lambda page: page.relative_to(DOCS).as_posix(),
)
def test_code_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch, capsys):
    for library in re.findall(
        r"^(?:import|from) (pandas|matplotlib|Bio|skops|transformers)\b", page.read_text(), re.M
    ):
        pytest.importorskip(library)
    if "sklearn_esm.display" in page.read_text(encoding="utf-8"):
        pytest.importorskip("matplotlib").use("agg")
    if "identity_groups" in page.read_text(encoding="utf-8"):
        pytest.importorskip("pyopal")
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, (kind, code, expected) in enumerate(blocks(page), start=1):
        if kind == "sh":
            run_command(code.replace("\\\n", " "))
        else:
            exec(compile(code, f"{page.name}, block {number}", "exec"), names)
        printed = capsys.readouterr().out
        if expected is not None:
            same = doctest.OutputChecker().check_output(expected, printed, LIKE_DOCTEST)
            assert same, f"block {number} printed\n{printed}\nand the page says\n{expected}"
        else:
            assert not printed, f"block {number} printed what the page does not show:\n{printed}"


def api_entries():
    """The names that pages of their own are made for, as they are imported."""
    module, entries = "", []
    for line in (DOCS / "api" / "index.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.removeprefix(".. currentmodule:: ")
        elif re.fullmatch(r"   \w+", line) and line.strip() != "command_line":
            entries.append(f"{module}.{line.strip()}")
    return entries


def test_every_public_name_has_its_page_and_no_other():
    public = [
        f"{module}.{name}"
        for module in PUBLIC_MODULES
        for name in importlib.import_module(module).__all__
    ]
    assert sorted(api_entries()) == sorted(public)


@pytest.mark.parametrize("name", [name for name in sklearn_esm.__all__ if name.startswith("ESM")])
def test_link_of_an_estimator_leads_to_its_page(name):
    link = getattr(sklearn_esm, name)()._get_doc_link()
    page = link.removeprefix("https://sklearn-esm.readthedocs.io/en/stable/")
    # autosummary puts the page of a name beside api/index.rst, for its toctree is "."
    assert page == f"api/sklearn_esm.{name}.html"
    assert f"sklearn_esm.{name}" in api_entries()


def test_pages_of_names_lie_beside_the_index():
    index = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    assert index.count(".. autosummary::") == index.count("   :toctree: .\n")


def configuration(name):
    """What docs/conf.py sets a name to, without running it: its imports come with the extra docs."""
    tree = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return node.value
    raise AssertionError(f"docs/conf.py does not set {name}")


def gallery_setting(name):
    settings = configuration("sphinx_gallery_conf")
    keys = [key.value for key in settings.keys]
    return settings.values[keys.index(name)]


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_every_example_is_in_the_gallery(script):
    # sphinx-gallery takes each script of the folder that the pattern does not exclude, if it has a title
    assert gallery_setting("examples_dirs").value == "../examples"
    ignored = re.search(gallery_setting("ignore_pattern").value, str(script))
    assert bool(ignored) == (script.stem == "partitions_ray")  # linked from the page on Dask
    title, line, *_ = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).splitlines()
    assert title.endswith("?")
    assert set(line) == {"="}
    assert len(line) >= len(title)


def test_examples_that_are_not_run_exist():
    not_run = ast.literal_eval(configuration("NOT_RUN"))
    assert set(not_run) <= {script.stem for script in EXAMPLES}


def test_links_between_pages_and_examples_lead_somewhere():
    scripts = {script.stem for script in EXAMPLES}
    for page in [
        *PAGES,
        DOCS / "clusters.md",
        DOCS / "performance.md",
        DOCS / "api" / "command_line.md",
    ]:
        text = page.read_text(encoding="utf-8")
        for stem in re.findall(r"auto_examples/(\w+)\.rst", text):
            assert stem in scripts | {"index"}, page
        for name in re.findall(r"`(?:python )?(examples/\w+\.py|benchmarks/\w+\.py)", text):
            assert (ROOT / name).is_file(), page


def test_every_page_is_in_a_toctree():
    listed = set()
    for page in [DOCS / "index.md", DOCS / "user_guide" / "index.md", DOCS / "api" / "index.rst"]:
        text = page.read_text(encoding="utf-8")
        toctree = text[text.index("{toctree}" if page.suffix == ".md" else ".. toctree::") :]
        for entry in re.findall(r"^ *(?:\w+ <)?((?:\.\./)?[\w/]+)>?$", toctree, re.MULTILINE):
            listed.add((page.parent / entry).resolve())
    for page in [*DOCS.glob("*.md"), *DOCS.glob("user_guide/*.md"), *DOCS.glob("api/*.md")]:
        assert page == DOCS / "index.md" or page.with_suffix("") in listed, page


# figures that pages quote from the one on speed and memory, which is measured anew now and then
QUOTED = {
    "user_guide/long_sequences.md": ["34,350 residues", "130 s"],
    "user_guide/memory.md": ["34,350 residues", "0.81 GiB", "39", "2,629"],
    "faq.md": ["8 GiB"],
}


@pytest.mark.parametrize("name", QUOTED)
def test_figures_quoted_are_those_of_the_page_on_speed(name):
    page, source = (DOCS / name).read_text(), (DOCS / "performance.md").read_text()
    for figure in QUOTED[name]:
        pattern = re.escape(figure).replace(r"\ ", r"\s+")
        assert re.search(pattern, page), figure
        assert re.search(pattern, source), figure


def test_command_line_page_has_every_command_and_option():
    typer = pytest.importorskip("typer")
    pytest.importorskip("rich")
    from sklearn_esm.cli._app import app

    text = (DOCS / "api" / "command_line.md").read_text(encoding="utf-8")
    commands = [("", typer.main.get_command(app))]
    while commands:
        name, command = commands.pop()
        assert f"{name}`" in text, f"The page has no heading for {name}"
        commands += [
            (f"{name} {sub}".strip(), one) for sub, one in getattr(command, "commands", {}).items()
        ]
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option not in ("--help", "--version"):
                    assert re.search(rf"{option}\b", text), f"The page does not name {option} of {name}"
