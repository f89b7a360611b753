"""Names that would do something, and what of them is left: their text."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ptaudit import escape
from ptaudit.tables.formats import csv_text, json_text, parse

ANY = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.text(" =+-@'\\;\t\r\nx1[](){}<>|#*_`~$&:/w.ae\x1b\x9b\u202e\ud800", max_size=12),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv1.weight", "conv1.weight"),
        ("größe ☃", "größe ☃"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("##vso[task.x]y ##[error]z ## [a]", r"#\x23vso[task.x]y #\x23[error]z ## [a]"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nerror: b\r", r"a\nerror: b\r"),
        ("abc\u202ecba\u2066", r"abc\u202ecba\u2066"),
        ("\u2028\u200b\xa0\ud800", r"\u2028\u200b\xa0\ud800"),
    ],
)
def test_a_terminal_is_not_steered(text, shown):
    assert escape.terminal(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("identity.bits 0.05 [0.04, 0.06]", "identity.bits 0.05 [0.04, 0.06]"),
        ("snake_case and a_b", "snake_case and a_b"),
        ("5 % <= 6 %; e-mail: #1st", r"5 % <= 6 %; e-mail: #<!-- -->1st"),
        ("[text](http://x.y)", r"[text\](http\://x.y)"),
        ("![a][b]", r"![a\][b]"),
        ("[a]: b", r"[a\]: b"),
        ("www.x.y", r"www\.x.y"),
        ("<script>x</script>", r"\<script>x\</script>"),
        ("@user/team", "@<!-- -->user/team"),
        ("a@b.com", "a@<!-- -->b.com"),
        ("org/repo#12 gh-3", "org/repo#<!-- -->12 gh-<!-- -->3"),
        (":tada:", ":<!-- -->tada:"),
        ("a|b", r"a\|b"),
        ("*a* _b_ `c` ~d~ $e$ &lt;", r"\*a\* \_b\_ \`c\` \~d\~ \$e\$ \&lt;"),
        ("a\n\n# b", r"a\\n\\n# b"),
    ],
)
def test_markdown_shows_the_text(text, shown):
    assert escape.markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# a", r"\# a"),
        ("> a", r"\> a"),
        ("- a", r"\- a"),
        ("---", r"\---"),
        ("1. a", r"1\. a"),
        ("[x] a", r"\[x] a"),
        ("-0.5 is a number", "-0.5 is a number"),
        ("[0.5, 0.6]", "[0.5, 0.6]"),
    ],
)
def test_a_line_of_markdown_is_no_block(text, shown):
    assert escape.markdown_line(text) == shown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("fc1", "fc1"),
        ("-0.5", "-0.5"),
        ("+3e-5", "+3e-5"),
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-a", "'-a"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("a;=1", "a;'=1"),
        ("'a", "''a"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("a\\b", r"a\\b"),
        ("＝1", "'＝1"),
    ],
)
def test_a_spreadsheet_finds_no_formula(text, cell):
    assert escape.csv(text) == cell
    assert escape.from_csv(cell) == text


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(ANY)
def test_what_is_written_can_be_read_back_and_does_nothing(text):
    table = csv_text(["name", "value"], [[text, -0.5]])
    assert len(table.splitlines()) == 2
    ((name, value),) = list(csv.reader(io.StringIO(table)))[1:]
    assert parse(str, name, "name", "t:2") == text
    assert value == "-0.5"
    assert name.isprintable()
    assert not re.match(r"[=+\-@]", name) or re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", name, re.IGNORECASE)
    assert escape.terminal(text).isprintable()
    ElementTree.fromstring(ElementTree.tostring(_element(escape.xml(text)), encoding="unicode"))
    for content in ({"a": text}, {text: [text]}):
        written = json_text(content)
        assert written.replace("\n", "").isprintable()
        assert json.loads(written) == json.loads(json.dumps(content))


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(ANY)
def test_a_reader_of_markdown_sees_the_text_and_nothing_else(text):
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    shown = escape.terminal(text)
    for written, within in ((escape.markdown_line(text), 3), (f"- {escape.markdown_line(text)}", 7)):
        tokens = reader.parse(written) if shown.strip() else []
        assert len(tokens) in (0, within)
        pieces = [piece for token in tokens for piece in token.children or ()]
        assert {piece.type for piece in pieces} <= {"text", "text_special", "html_inline"}
        read = "".join(piece.content for piece in pieces if piece.type != "html_inline")
        assert read == (shown.strip() if tokens else "")
        assert all(piece.content == "<!-- -->" for piece in pieces if piece.type == "html_inline")


def _element(text):
    element = ElementTree.Element("a", {"name": text})
    element.text = text
    return element
