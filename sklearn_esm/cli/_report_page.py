"""The frame of a report: one HTML page without anything to load, for desks and phones."""

from __future__ import annotations

from string import Template

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #59636e; --page: #ffffff; --box: #f4f6f8;
  --line: #d5dae0; --warn: #fff4d6; --warn-line: #d79a00; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #a3acb6; --page: #15181c;
  --box: #1f242a; --line: #3a424b; --warn: #3a2f10; --warn-line: #d79a00; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 36px 0 8px; }
p, li, dd, figcaption { overflow-wrap: anywhere; }
p, ul { max-width: 46rem; }
.lead { font-size: 1.1rem; margin: 0 0 12px; }
.soft, figcaption { color: var(--soft); font-size: 0.9rem; }
.warnings { background: var(--warn); border-left: 4px solid var(--warn-line); border-radius: 4px;
  padding: 10px 16px; margin: 16px 0; }
.warnings h2 { margin: 0; font-size: 1rem; }
.warnings ul { margin: 4px 0 0; padding-left: 20px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 28px; align-items: start; }
figure { margin: 0; max-width: 520px; }
figure h2 { margin: 0 0 8px; }
figure img { display: block; width: 100%; height: auto; background: #ffffff; border-radius: 4px;
  border: 1px solid var(--line); padding: 6px; }
figcaption { margin-top: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
thead th { color: var(--soft); font-weight: 600; }
tr.model { font-weight: 600; }
dl { display: grid; grid-template-columns: 210px minmax(0, 1fr); gap: 4px 16px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 4px; padding: 10px 12px;
  white-space: pre-wrap; overflow-wrap: anywhere; margin: 8px 0; }
code, pre { font: 0.88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 560px) { dl { display: block; } dd { margin-bottom: 6px; } }
@media print { body { font-size: 12px; } .figures, pre, table { break-inside: avoid; } }
"""

# no icon, because browsers look for one
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="sklearn-esm $version">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$content
</main>
</body>
</html>
""")


def page(title: str, version: str, content: str) -> str:
    """Return a page. All three are HTML, and the first two have no elements."""
    return _PAGE.substitute(title=title, version=version, content=content, style=_STYLE)
