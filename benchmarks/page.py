"""The page of results/benchmarks: what was measured, what is asked of it, and on what it was measured."""

from typing import Any


def verdict(name: str, value: float, asked: dict[str, float], least: dict[str, float]) -> tuple[str, str]:
    """(what is asked, whether it is met): ("at most 1.1", "yes"); two empty texts where nothing is asked."""
    if name in asked:
        return f"at most {asked[name]:.3g}", "yes" if value <= asked[name] else "**no**"
    if name in least:
        return f"at least {least[name]:.3g}", "yes" if value >= least[name] else "**no**"
    return "", ""


def page(stored: dict[str, Any]) -> str:
    """The page in Markdown, of the content of speed.json: one table for each file of benchmarks/."""
    lines = [
        "# Speed and size",
        "",
        "Written by `make bench`, or part by part by `python -m benchmarks PART`. A number is the ratio of two ways that took",
        "turns in one process (the median of the turns' ratios, so it is not quite that of the times shown), unless its name",
        "begins with a unit or a share: such a number holds for one machine at one hour. *Asked*: the limits that this project",
        "set itself in `benchmarks/`.",
    ]
    for title in stored["parts"]:
        about = stored["about"][title]
        made = f"Code {about['code']}, {about['date']}, {about['system']}, Python {about['python']}, torch {about['torch']}."
        lines += ["", f"## {title}", "", made, "", "| measured | value | asked | met |", "|---|---|---|---|"]
        for name, value in sorted(stored["measured"][title].items()):
            asked, met = verdict(name, value, stored["limits"], stored["least"])
            lines.append(f"| {name} | {value:.3g} | {asked} | {met} |")
    return "\n".join(lines) + "\n"
