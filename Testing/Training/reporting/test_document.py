"""Pages as Markdown and HTML."""

from html_page import Page
from SpleenSmoothSegTrainingLib.reporting.document import (
    Answer,
    Code,
    Heading,
    Paragraph,
    Picture,
    Table,
    to_html,
    to_markdown,
)


def test_document_is_equal_in_markdown_and_html(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"\x89PNG picture")
    blocks = [
        Answer("Yes.", ["Rather *sure*."]),
        Heading("Part"),
        Paragraph("a < b\nand `c`"),
        Table("Numbers", ["", "one"], [["x|y", "1"]], "A note."),
        Picture(tmp_path / "figures" / "a.png", "alt", "Caption"),
        Code("```\n<x>"),
    ]
    assert to_markdown("Title", blocks, tmp_path) == (
        "# Title\n\n> **Yes.**\n>\n> Rather \\*sure\\*.\n\n## Part\n\na \\< b and \\`c\\`\n\n**Numbers**\n\n"
        "|  | one |\n| --- | ---: |\n| x\\|y | 1 |\n\nA note.\n\n![alt](figures/a.png)\n\nCaption\n\n"
        "````text\n```\n<x>\n````\n"
    )
    page = Page(to_html("Title", blocks))
    assert page.images == [b"\x89PNG picture"]
    for words in ("Yes.", "Rather *sure*.", "a < b and `c`", "x|y", "A note.", "Caption", "<x>"):
        assert words in page.text
