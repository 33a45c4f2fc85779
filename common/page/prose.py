"""What a paper's README.md says, as HTML: its title, its first words, a section, a table of it.

Only what these files use is understood: paragraphs, lists, tables, `code`, **strong** and *emphasised* words, links. Of a link
the words are kept, since what it points at is not in the report.
"""

import re
from pathlib import Path

from markupsafe import Markup, escape

_SPANS = (
    (re.compile(r"\[([^\]]+)\]\([^)\s]+\)"), r"\1"),
    (re.compile(r"\*\*(\S(?:.*?\S)?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*(\S(?:.*?\S)?)\*"), r"<em>\1</em>"),
)
_CELL = re.compile(r"(?<!\\)\|")  # a bar inside a cell is written \|


def read(path: Path) -> str:
    """The text of a README file, "" where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def title(text: str, otherwise: str) -> str:
    """The first heading of a document."""
    found = re.search(r"^# +(.+)$", text, flags=re.M)
    return found[1].strip() if found else otherwise


def lead(text: str) -> Markup:
    """The paragraphs between the first heading and the first command, table or section."""
    body = re.sub(r"\A.*?^# +.+?$", "", text, count=1, flags=re.M | re.S)
    return html(re.split(r"^(?:```|\||##)", body, maxsplit=1, flags=re.M)[0])


def section(text: str, heading: str) -> str:
    """What stands under `## heading`, "" where there is no such section."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
    return found[1].strip() if found else ""


def html(text: str) -> Markup:
    """Paragraphs and lists as HTML; tables and code blocks are left out."""
    return Markup("\n").join(_block(block) for block in re.split(r"\n\s*\n", text.strip()) if _is_prose(block))


def inline(text: str) -> Markup:
    """One line of Markdown as HTML; whatever else it holds is shown as it stands."""
    pieces = []
    for number, piece in enumerate(text.split("`")):
        shown = str(escape(piece))
        if number % 2:
            pieces.append(f"<code>{shown}</code>")
            continue
        for pattern, instead in _SPANS:
            shown = pattern.sub(instead, shown)
        pieces.append(shown)
    return Markup("".join(pieces))


def table(text: str) -> list[list[Markup]]:
    """The cells of the first table in a text, its header first, [] where there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    rows = [[cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]] for line in lines]
    return [[inline(cell) for cell in row] for row in rows if not all(re.fullmatch(":?-+:?", cell) for cell in row)]


def _is_prose(block: str) -> bool:
    return bool(block.strip()) and not block.lstrip().startswith(("|", "```", "<!--"))


def _block(block: str) -> Markup:
    """A paragraph, or a list with what leads to it."""
    before, *items = re.split(r"^- ", block, flags=re.M)
    parts = [Markup("<p>{}</p>").format(inline(_joined(before)))] if before.strip() else []
    if items:
        listed = Markup("").join(Markup("<li>{}</li>\n").format(inline(_joined(item))) for item in items)
        parts.append(Markup("<ul>\n{}</ul>").format(listed))
    return Markup("\n").join(parts)


def _joined(text: str) -> str:
    return " ".join(text.split())
