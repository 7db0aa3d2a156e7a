"""A page taken apart with the standard library's parser, strict about what a browser would silently mend."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self):
        """All text inside, blanks run together."""
        whole = " ".join(child if isinstance(child, str) else child.text for child in self.children)
        return " ".join(whole.split())

    def all(self, tag=None, **attributes):
        """Elements inside with this tag and these attributes (``cls`` is one word of ``class``)."""
        for child in self.children:
            if isinstance(child, Element):
                if (tag is None or child.tag == tag) and child.has(attributes):
                    yield child
                yield from child.all(tag, **attributes)

    def has(self, attributes):
        wanted = dict(attributes)
        word = wanted.pop("cls", None)
        if word is not None and word not in self.attributes.get("class", "").split():
            return False
        return all(self.attributes.get(name) == value for name, value in wanted.items())

    def inside(self, tag):
        step = self.parent
        while step is not None and step.tag != tag:
            step = step.parent
        return step


class _Builder(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Element("", {}, None)
        self.here = self.root

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}> in line {self.getpos()[0]}"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


def parse(page):
    """Return the root element; every element must be closed where it should be."""
    builder = _Builder()
    builder.feed(page)
    builder.close()
    assert builder.here is builder.root, f"<{builder.here.tag}> is never closed"
    return builder.root
