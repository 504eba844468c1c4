"""A page of the report as its tests read it: ids, links, tags, and the tables of each section."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "use", "path", "rect", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting while it reads, and keeps ids, links, tables, heads' classes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._section = ""
        self.section_tables: dict[str, list[list[list[str]]]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if given.get("id"):
            self.ids.append(given["id"] or "")
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        if tag == "svg":
            self.labels.append(given.get("aria-label") or "")
        if tag == "section":
            self._section = given["id"] or ""
            self.section_tables[self._section] = []
        if tag == "table":
            self.section_tables[self._section].append([])
        if tag == "tr":
            self.section_tables[self._section][-1].append([])
        if tag in ("td", "th"):
            self.section_tables[self._section][-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.section_tables[self._section][-1][-1][-1] += data


def figure_texts(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


def value(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "").rstrip("%†"))


def column(table: list[list[str]], name: str) -> list[str]:
    """The cells below a head."""
    place = table[0].index(name)
    return [row[place] for row in table[1:]]
