import re
from html.parser import HTMLParser

from pkg.trials.report import markdown, page, wording
from pkg.trials.report.document import Document, Heading, Plot, Points, Table, Text, Warnings

SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'
DOCUMENT = Document(
    "A <report> & more",
    [
        Warnings(["`folder` is incomplete"]),
        Heading("First: things"),
        Text("Read `a|b` and 2 * 3 <of> them_all."),
        Points(["one", "two"]),
        Table(("what", "how many"), [("a | b", "1"), ("c", "2")], "`runs.csv`: what, many"),
        Plot("a-plot", "A plot", 'Lines that "rise"', "`runs.csv`: what", SVG),
    ],
)


class _Parsed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_closes_every_tag_and_escapes_text() -> None:
    text = page.render(DOCUMENT)
    parsed = _Parsed()

    parsed.feed(text)

    assert parsed.open == []
    assert "<title>A &lt;report&gt; &amp; more</title>" in text
    assert "2 * 3 &lt;of&gt; them_all" in text


def test_page_refers_to_nothing_outside_itself() -> None:
    parsed = _Parsed()
    parsed.feed(page.render(DOCUMENT))

    targets = [
        value or ""
        for _, attributes in parsed.tags
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "data", "action", "poster"}
    ]

    assert targets
    assert all(re.match(r"#|data:image/svg\+xml;base64,", target) for target in targets)
    assert not re.search(r"url\(|@import|<script|<link", page.render(DOCUMENT))


def test_every_link_in_the_page_leads_to_a_heading() -> None:
    parsed = _Parsed()
    parsed.feed(page.render(DOCUMENT))

    ids = {attributes.get("id") for _, attributes in parsed.tags}

    assert {a["href"] for tag, a in parsed.tags if tag == "a"} == {"#first-things"}
    assert "first-things" in ids


def test_markdown_is_as_expected() -> None:
    assert markdown.render(DOCUMENT) == (
        "# A \\<report\\> & more\n\n"
        "> **To know first**\n>\n> - `folder` is incomplete\n\n"
        "## First: things\n\n"
        "Read `a\\|b` and 2 \\* 3 \\<of\\> them\\_all.\n\n"
        "- one\n- two\n\n"
        "| what | how many |\n| --- | ---: |\n| a \\| b | 1 |\n| c | 2 |\n\n"
        "Source: `runs.csv`: what, many\n\n"
        "**A plot**\n\n"
        '![Lines that "rise"](a-plot.svg)\n\n'
        "Source: `runs.csv`: what\n"
    )


def test_warnings_without_items_are_not_rendered() -> None:
    empty = Document("Report", [Warnings([])])

    assert "To know first" not in page.render(empty) + markdown.render(empty)


def test_numbers_keep_three_digits_and_shares_are_never_rounded_to_all_or_none() -> None:
    numbers = (0.01234, 0.1234, 1.234, 12.34, 123.4, 12345.6)

    assert [wording.figures(value) for value in numbers] == [
        *("0.0123", "0.123", "1.23", "12.3", "123", "12,346"),
    ]
    assert [wording.percent(share) for share in (0, 1e-9, 0.5, 0.9999999, 1)] == [
        *("0%", "0.001%", "50.0%", "99.999%", "100%"),
    ]
    assert wording.figures(None) == wording.ms(None) == wording.percent(None) == wording.DASH
