"""Files that know where they came from: figures and tables with a note of their inputs inside, and its reader.

The same figure and note give the same bytes: no dates, no names of programs, no random identifiers.
"""

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import Problem
from common.style import context

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    Note = dict[str, Any]
else:
    Note = dict

KEY = "replicate"
_PDF_NOTE = re.compile(rb"/Subject \(((?:[^()\\]|\\.)*)\)", re.DOTALL)
_MARKDOWN_NOTE = re.compile(rf"<!-- {KEY}: (\{{.*\}}) -->")


def png(figure: "Canvas", note: Note, dpi: int = 200) -> bytes:
    """The figure as PNG with the note in a text field."""
    return _saved(figure, "png", {"Software": None, KEY: _text(note)}, dpi)


def pdf(figure: "Canvas", note: Note) -> bytes:
    """The figure as PDF with the note as its subject."""
    fixed = {"Creator": KEY, "Producer": KEY, "CreationDate": None, "Title": note.get("name", "")}
    return _saved(figure, "pdf", fixed | {"Subject": _text(note)}, 200)


def markdown(text: str, note: Note) -> bytes:
    """Markdown with the note in a comment at its end."""
    return f"{text.rstrip()}\n\n<!-- {KEY}: {_text(note)} -->\n".encode()


def origin(path: Path) -> Note:
    """The note inside a PNG, PDF or Markdown file. Errors: Problem when there is no such file or no note in it."""
    if not path.is_file():
        raise Problem(
            f"There is no file {path}. Figures lie in results/PAPER/TIER; make them: replicate figures PAPER."
        )
    if path.suffix == ".csv" and path.with_suffix(".md").exists():
        path = path.with_suffix(".md")  # the same table; a CSV has no place for a note that readers would pass over
    text = {".png": _png_note, ".pdf": _pdf_note, ".md": _markdown_note}.get(path.suffix, lambda _: None)(path)
    try:
        return dict(json.loads(text or ""))
    except (ValueError, TypeError):
        raise Problem(
            f"{path} does not say where it came from: it was not made by `replicate figures`, or was changed since."
        ) from None


def _text(note: Note) -> str:
    """ASCII on one line: survives every container."""
    return json.dumps(note, sort_keys=True).replace("--", "\\u002d-")  # "--" would end a Markdown comment


def _saved(figure: "Canvas", kind: str, metadata: dict[str, Any], dpi: int) -> bytes:
    buffer = io.BytesIO()
    with context():
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=dpi)
    return buffer.getvalue()


def _png_note(path: Path) -> str | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.info.get(KEY)
    except (UnidentifiedImageError, OSError):
        return None


def _pdf_note(path: Path) -> str | None:
    found = _PDF_NOTE.search(path.read_bytes())
    return re.sub(rb"\\(.)", rb"\1", found[1]).decode("ascii", "replace") if found else None


def _markdown_note(path: Path) -> str | None:
    found = _MARKDOWN_NOTE.search(path.read_text())
    return found[1] if found else None
