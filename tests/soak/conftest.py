"""The seed of all that is random here, and the counts at the end."""

import os
import secrets


def pytest_configure():
    # here, in the process that starts the workers, and inherited by each of them
    os.environ["SEED"] = os.environ.get("SEED") or str(secrets.randbelow(10**6))


def pytest_terminal_summary(terminalreporter):
    counts = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, count in getattr(report, "user_properties", []):
                if getattr(report, "when", None) == "call":
                    counts[name] = counts.get(name, 0) + count
    said = []
    for name in ("inputs", "kills"):
        if name in counts:
            refused = counts.get(f"{name} refused", 0)
            aside = f" ({refused:,} refused, as they must be)" if refused else ""
            said.append(f"{counts[name]:,} {name}{aside}, {counts[f'{name} wrong']:,} wrong")
    if said:
        terminalreporter.section(f"SEED={os.environ['SEED']}")
        terminalreporter.write_line("; ".join(said))
