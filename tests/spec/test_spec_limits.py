"""What a spec may not ask for, and text that is not what its tag says: errors with line and remedy, at once."""

import time

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec import load
from ptaudit.spec.document import parse

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
    began = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "spec.yaml")
    assert time.perf_counter() - began < 2.0
    assert "spec.yaml:10: the lists make 16,000 entries of this one, 16,001 in all (at most 200)" in str(caught.value)
