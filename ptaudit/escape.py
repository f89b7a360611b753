"""Names and messages from data and code as plain text, wherever they leave ptaudit: one function for each target.

A layer, a column, a level or an exception may be called anything. What is written to a terminal, a report, a table or
an error must show that name and do nothing else.
"""

from __future__ import annotations

import re

_MARKDOWN = re.compile(
    r"""
    [\\`*|~&$]                            # code, emphasis, cells, strikes, entities, formulas
    | <(?=[A-Za-z/!?])                    # HTML and autolinks
    | (?<![^\W_])_ | _(?![^\W_])          # emphasis
    | \](?=[(\[:])                        # links, pictures, references, footnotes
    | :(?=//) | (?<=www)\.                # bare addresses
    | (?P<word>@(?=[\w-]) | \#(?=\d) | \b(?:GH|gh)-(?=\d) | :(?=[\w+-]+:))  # mentions, issues, emoji
    """,
    re.VERBOSE | re.IGNORECASE,
)
_COMMAND = re.compile(r"##(?=\w*\[)")
"""How commands to CI servers begin, anywhere in a line of a log."""

_BLOCK = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=>|[-+](?:\s|$)|---|#{1,6}(?:\s|$)|\[[ xX]\]))")
"""What makes a heading, a list or a quotation of a line that begins with it."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_STARTS = "'=+-@＝＋－＠"
_FORMULA = re.compile(rf"(^|;)(?=[{re.escape(_STARTS)}])")
"""Where a spreadsheet begins a formula: at the start of a cell, and of what it takes for one after a semicolon."""

_QUOTED = re.compile(r"(^|;)'")
_ESCAPED = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def terminal(text: str) -> str:
    """One line that cannot steer a terminal or the CI server that reads it, nor be read in another order.

    Characters without a shape (control, direction, line ends, half a pair) are shown as Python writes them: `\\x1b`,
    `\\u202e`, `\\n`; so is the second `#` of `##vso[` and its like.
    """
    shown = text if text.isprintable() else "".join(map(_shown, text))
    return _COMMAND.sub(r"#\\x23", shown) if "##" in shown else shown


def xml(text: str) -> str:
    """One line of characters that XML 1.0 can hold; what is markup in it is escaped by who writes the XML."""
    return terminal(text)


def html(text: str) -> str:
    """One line of characters with a shape; what is markup in it is escaped by the template that writes the page."""
    return terminal(text)


def markdown(text: str) -> str:
    """One line of GitHub-flavoured Markdown that shows the text: no link, picture, tag, mention, cell or emphasis."""
    return _MARKDOWN.sub(_in_markdown, terminal(text))


def markdown_line(text: str) -> str:
    """The same at the start of a line, where it could be a heading, a list or a quotation too."""
    return _BLOCK.sub(r"\1\\", markdown(text).lstrip(" "), count=1)


def json(text: str) -> str:
    """JSON text in which every character without a shape is written as `\\uXXXX`; line ends between values stay."""
    return text if text.replace("\n", "").isprintable() else "".join(map(_in_json, text))


def csv(text: str) -> str:
    """A text as a cell of a table: one line that no spreadsheet takes for a formula, see `from_csv`.

    Characters without a shape are shown as Python writes them, with backslashes doubled; `'` stands before what would
    begin a formula (`=`, `+`, `-`, `@`), and before `'` itself. A number is left as it is.
    """
    if "\\" in text or not text.isprintable():
        text = terminal(text.replace("\\", "\\\\"))
    elif text and text[0] not in _STARTS and ";" not in text:
        return text  # as nearly all are: tables have millions of them
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def from_csv(cell: str) -> str:
    """The text that a cell stands for: `from_csv(csv(text)) == text`."""
    text = _QUOTED.sub(r"\1", cell) if "'" in cell else cell
    return _ESCAPED.sub(_unescaped, text) if "\\" in text else text


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _in_markdown(match: re.Match[str]) -> str:
    # A mention cannot be escaped by a backslash; a comment that shows nothing takes it apart.
    return f"{match[0]}<!-- -->" if match["word"] else f"\\{match[0]}"


def _in_json(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[k]:02x}{units[k + 1]:02x}" for k in range(0, len(units), 2))


def _unescaped(match: re.Match[str]) -> str:
    # One character at a time, so that half a pair is given back as it was.
    return match[0].encode().decode("unicode_escape")
