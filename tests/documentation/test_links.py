"""Every link inside the project leads to a file and an anchor that exist.

``make docs`` builds the site and then runs this file with its folder in the variable ``SITE``. Without
it, only the Markdown files outside the site are checked.
"""

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parents[2]
MARKDOWN = sorted([*ROOT.glob("*.md"), *ROOT.glob("sklearn_esm/**/*.md")])


class Page(HTMLParser):
    """The anchors of a page, and what it links to."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = {"", "top"}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(values[key] for key in ("id", "name") if values.get(key))
        self.links += [values[key] for key in ("href", "src") if values.get(key)]


parse = cache(Page)


def broken(page):
    """The links of a page of the site that lead nowhere."""
    for link in parse(page).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        has_anchors = target.suffix == ".html"
        if not target.is_file() or (
            has_anchors and unquote(parts.fragment) not in parse(target).anchors
        ):
            yield link


@pytest.mark.skipif("SITE" not in os.environ, reason="make docs runs it")
def test_links_of_the_site():
    site = Path(os.environ["SITE"]).resolve()
    pages = [page for page in sorted(site.rglob("*.html")) if "_static" not in page.parts]
    found = {page.relative_to(site).as_posix(): list(broken(page)) for page in pages}
    assert {name: links for name, links in found.items() if links} == {}
    assert len(pages) > 50


def github_anchors(path):
    """The anchors that GitHub gives to the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_markdown_files(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        assert target.exists(), link
        if parts.fragment and target.suffix == ".md":
            assert parts.fragment in github_anchors(target), link
