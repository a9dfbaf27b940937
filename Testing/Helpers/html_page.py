"""A parser for the pages of the report."""

import base64
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Text, pictures and tags of a page; checks that all elements are closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.images, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        assert not {"src", "href"} & values.keys() or values["src"].startswith("data:image/png;base64,")
        if tag == "img":
            assert values["alt"]
            self.images.append(base64.b64decode(values["src"].partition(",")[2]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
