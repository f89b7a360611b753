"""What a spec may not ask for, and text that is not what its tag says: errors with line and remedy, at once."""

import time

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec.document import parse, write
from ptaudit.spec.load import load

SPEC = """version: 1
name: s
model: {entry: mlp.py:mlp}
data: {source: sklearn:digits}
train: {epochs: 1}
audit:
  games: [identity]
  views:
    - %s
    - {name: v, batch_size: %s}
"""


@pytest.mark.parametrize(
    ("text", "said"), [("!!bool x", "`x` is no bool"), ('!!int ""', "`` is no int"), ("!!float y", "`y` is no float")]
)
def test_scalars_that_are_not_what_their_tag_says(text, said):
    with pytest.raises(SpecError) as caught:
        parse(f"a: 1\nversion: {text}\n", "spec.yaml")
    assert str(caught.value).startswith(f"spec.yaml:2: {said}")


def test_a_view_that_is_text_beside_one_with_lists(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC % ("record", "[2, 4]"))
    with pytest.raises(SpecError, match=r"spec\.yaml:9: "):
        load(tmp_path / "spec.yaml")


def test_lists_that_make_thousands_of_views_are_refused_at_once(tmp_path):
    many = f"{list(range(1, 41))}, rounds: {list(range(1, 41))}, users: {list(range(1, 11))}"
    (tmp_path / "spec.yaml").write_text(SPEC % ("{name: record, batch_size: 1}", many))
    began = time.process_time()
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "spec.yaml")
    assert time.process_time() - began < 2.0
    assert "spec.yaml:10: the lists make 16,000 entries of this one, 16,001 in all (at most 200)" in str(caught.value)


def said(tmp_path, text):
    """What is wrong with a spec file; found out at once."""
    (tmp_path / "spec.yaml").write_text(text)
    began = time.process_time()
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "spec.yaml")
    assert time.process_time() - began < 5.0
    return str(caught.value)


def test_views_that_are_written_out_are_counted_too(tmp_path):
    views = "\n".join(f"    - {{name: v{k}, batch_size: 2}}" for k in range(250))
    text = (SPEC % ("{name: record, batch_size: 1}", "2")) + views
    assert "spec.yaml:9: views has 252 entries (at most 200)" in said(tmp_path, text)


def test_merges_that_multiply_are_counted(tmp_path):
    lines = ["a0: &a0 {x: 1, y: 2}"] + [f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}" for k in range(1, 12)]
    assert "more than 20,000 values, each alias counted" in said(tmp_path, "\n".join(lines))


def test_merged_keys_are_those_of_yaml():
    """The mapping's own keys win, then those of the first of several."""
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\nd: {y: 4, <<: *b}\n"
    document = parse(text, "s.yaml")
    assert document.values["c"] == {"x": 1, "y": 3, "z": 2}
    assert document.values["d"] == {"x": 2, "z": 2, "y": 4}
    assert document.where(("c", "y")) == "s.yaml:3"
    assert document.where(("d",)) == "s.yaml:4"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("a: &a {<<: *a}", "spec.yaml:1: an alias refers to itself"),
        ("a: {<<: 3}", "spec.yaml:1: `<<` takes a mapping, or a list of them"),
        ("a: " + "[" * 60 + "]" * 60, "spec.yaml:1: nested deeper than 40 levels"),
        ("a: " + "[" * 5000, "spec.yaml: invalid YAML: nested too deeply"),
        ("a: [" + "1, " * 30_000 + "1]", "spec.yaml:1: more than 20,000 values"),
        ("# " + "x" * 1_000_001, "spec.yaml: more than 1,000,000 bytes, which no spec has"),
    ],
)
def test_texts_that_no_spec_has(tmp_path, text, wrong):
    assert wrong in said(tmp_path, text)


def test_a_device_is_read_no_further_than_a_spec_is_long():
    with pytest.raises(SpecError, match="more than 1,000,000 bytes"):
        load("/dev/zero")


def test_a_path_that_is_not_utf8(tmp_path):
    folder = tmp_path / "\udcff"
    folder.mkdir()
    assert "expected text that UTF-8 can hold" in said(folder, SPEC % ("{name: r}", "2"))


def test_what_is_written_holds_no_character_that_steers():
    values = {"a": "\u202eabc\u2066", "b": "ü\x9b", "c": ["\ud800", "a\nb\u2028", "\x7f"]}
    text = write(values)
    assert text.isascii()
    assert parse(text, "s.yaml").values == values
    assert write({"a": "größe ☃"}) == "a: größe ☃\n"
