"""A page of headings, paragraphs, tables and pictures, as Markdown and as self-contained HTML."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CSS = """
html { font-size: 15px; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.answer { border-left: 5px solid #d55e00; background: #fdf3ec; padding: 0.6rem 1rem; font-size: 1.05rem; }
.answer p { margin: 0.3rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; margin: 0.6rem 0; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
td { white-space: nowrap; } .text td { white-space: normal; }
thead th { border-bottom: 2px solid #555; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: 0.88rem; }
pre { background: #f5f5f5; padding: 0.6rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  @page { margin: 14mm; }
  html { font-size: 8.5pt; }
  body { max-width: none; margin: 0; padding: 0; }
  th, td { padding: 0.15rem 0.5rem; } .wide { overflow: visible; } img { max-width: 88%; }
  figure, tr, .answer { break-inside: avoid; } h2, caption { break-after: avoid; } h2 { margin-top: 1.2rem; }
}
"""


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Answer:
    """The box at the top with the summary of the page."""

    short: str
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Cells are aligned right, or left with `is_text`."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG with its alternative text."""

    path: Path
    alt: str
    caption: str


@dataclass(frozen=True)
class Code:
    text: str


Block = Heading | Paragraph | Answer | Table | Picture | Code


def to_markdown(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The page as Markdown; pictures are linked relative to its folder."""
    return "\n\n".join([f"# {_escape_markdown(title)}", *(_markdown(block, folder) for block in blocks)]) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page as HTML with embedded pictures."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{_escape_html(title)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n<h1>{_escape_html(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block, folder: Path) -> str:
    match block:
        case Heading(text):
            return f"## {_escape_markdown(text)}"
        case Paragraph(text):
            return _escape_markdown(text)
        case Answer(short, sentences):
            return "\n>\n".join(
                f"> {line}" for line in (f"**{_escape_markdown(short)}**", *map(_escape_markdown, sentences))
            )
        case Table():
            return _markdown_table(block)
        case Picture(path, alt, caption):
            link = path.relative_to(folder).as_posix()
            return f"![{_escape_markdown(alt)}]({link})\n\n{_escape_markdown(caption)}"
        case Code(text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{fence}text\n{text.rstrip()}\n{fence}"


def _markdown_table(table: Table) -> str:
    rule = ["---", *["---" if table.is_text else "---:"] * (len(table.header) - 1)]
    lines = [list(map(_escape_markdown, table.header)), rule, *(list(map(_escape_markdown, row)) for row in table.rows)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n\n".join(
        filter(
            None,
            (f"**{_escape_markdown(table.caption)}**" if table.caption else "", text, _escape_markdown(table.note)),
        )
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{_escape_html(text)}</h2>"
        case Paragraph(text):
            return f"<p>{_escape_html(text)}</p>"
        case Answer(short, sentences):
            rest = "".join(f"<p>{_escape_html(sentence)}</p>" for sentence in sentences)
            return f'<div class="answer"><p><strong>{_escape_html(short)}</strong></p>{rest}</div>'
        case Table():
            return _html_table(block)
        case Picture(path, alt, caption):
            data = base64.b64encode(path.read_bytes()).decode()
            image = f'<img src="data:image/png;base64,{data}" alt="{_escape_html(alt)}">'
            return f"<figure>{image}<figcaption>{_escape_html(caption)}</figcaption></figure>"
        case Code(text):
            return f"<pre>{html.escape(text.rstrip())}</pre>"


def _html_table(table: Table) -> str:
    caption = f"<caption>{_escape_html(table.caption)}</caption>" if table.caption else ""
    head = "".join(f'<th scope="col">{_escape_html(cell)}</th>' for cell in table.header) * any(table.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{_escape_html(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    kind = ' class="text"' if table.is_text else ""
    note = f'<p class="note">{_escape_html(table.note)}</p>' if table.note else ""
    return (
        f'<div class="wide"><table{kind}>{caption}{head and f"<thead><tr>{head}</tr></thead>"}\n'
        f"<tbody>\n{rows}\n</tbody></table></div>{note}"
    )


def _escape_html(text: str) -> str:
    return html.escape(_one_line(text))


def _escape_markdown(text: str) -> str:
    """Escape Markdown; underscores within words need no escape."""
    text = re.sub(r"([\\`*\[\]<>|#$~])", r"\\\1", _one_line(text)).replace("&", "&amp;")
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def _one_line(text: str) -> str:
    """Replace line breaks and control characters by spaces."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()
