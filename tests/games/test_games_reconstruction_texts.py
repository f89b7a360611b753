"""The reconstruction game on texts and on tables: rows of every attack, and what is right of a text, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from audit_case import write_spec

import ptaudit
from ptaudit.games.reconstruction.texts import TextsKnown, TrueTexts
from ptaudit.report.fields import field_lines
from ptaudit.tables.samples import read_samples

TEXTS = '''
import numpy as np

def records(n=160, vocab=30, length=6):
    """Messages of 3 to 6 words, the early numbers most often."""
    dice = np.random.default_rng(0)
    ids = np.minimum(dice.geometric(0.1, (n, length)), vocab - 1)
    mask = np.arange(length) < dice.integers(3, length + 1, (n, 1))
    return {"ids": np.where(mask, ids, 0), "mask": mask}, dice.integers(2, size=n)
'''
TRANSFORMER = Path(__file__).parents[2] / "sample_models" / "transformer.py"
DP = {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}
VIEWS = [
    {"name": "record", "batch_size": 1},
    {"name": "pair", "batch_size": 2},
    {"name": "batch", "batch_size": 16},
    {"name": "dp", "batch_size": 1, "defense": DP},
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts.py").write_text(TEXTS, encoding="utf-8")
    game = {"name": "reconstruction", "attacks": ["labels", "bag-of-words", "dager", "analytic"], "records": 8}
    changes = {
        "model": {
            "entry": f"{TRANSFORMER}:transformer",
            "args": {"vocab": 30, "length": 6, "width": 16, "heads": 2, "layers": 1},
        },
        "data": {"source": "texts.py:records", "held_out": 0.5},
        "audit__views": VIEWS,
        "audit__games": [game],
        "audit__epochs": [1],
        "train__epochs": 1,
        "gates": None,
    }
    return ptaudit.audit(write_spec(folder, **changes), out=folder / "run").leakage


def rows(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table.set_index("metric")


def test_texts_are_rebuilt_word_for_word_where_the_rank_allows(found):
    alone = rows(found, view="record", adversary="dager")
    for metric in ("tokens", "placed_tokens", "identified", "rebuilt", "labels_found", "worst_tokens"):
        assert alone.value[metric] == 1.0
    assert 0.0 <= alone.null["placed_tokens"] < 0.5
    assert alone.value["placed_tokens_gain"] > 0.5
    assert rows(found, view="pair", adversary="dager").value["placed_tokens"] > 0.9
    assert rows(found, view="record", adversary="labels").value.to_dict() == {"labels_found": 1.0}


def test_a_batch_of_too_many_tokens_and_noise_are_inconclusive_and_the_tokens_of_a_batch_are_told_all_the_same(found):
    for view, why in (("batch", "row spaces prove no text"), ("dp", "noise has every direction")):
        lost = rows(found, view=view, adversary="dager", knowledge="adaptive")
        assert lost.value.isna().all()
        assert lost.status.str.contains(why).all()
    static = rows(found, view="dp", adversary="dager", knowledge="static")
    assert static.status.str.contains("row spaces prove no text").all()
    alone, many = (rows(found, view=view, adversary="bag-of-words") for view in ("record", "batch"))
    assert set(many.index) == {"tokens_found", "tokens_found_gain"}
    assert alone.value["tokens_found"] == 1.0
    assert alone.value["tokens_found_gain"] > 0.3
    assert 0.1 < many.value["tokens_found"] < 1.0  # how often each occurs is not told
    hidden = rows(found, view="dp", adversary="bag-of-words", knowledge="adaptive")
    assert hidden.value["tokens_found"] < 0.5


def test_an_attack_on_numbers_says_nothing_of_texts(found):
    lost = rows(found, view="record", adversary="analytic")
    assert lost.status.str.contains("rebuilds no tokens inputs").all()
    assert set(lost.index) == set(rows(found, view="record", adversary="dager").index)


def test_what_is_right_of_a_text_by_hand():
    ids = torch.tensor([[[1, 2, 2, 0], [3, 1, 0, 0]]])
    real = torch.tensor([[[True, True, True, False], [True, True, False, False]]])
    usual = {"ids": torch.tensor([[1, 2, 4, 4], [1, 3, 4, 4]]), "mask": torch.ones(2, 4, dtype=torch.bool)}
    known = TextsKnown.of(usual, 6)
    assert known.guess.tolist() == [1, 2, 4, 4]
    assert known.times.tolist() == [0.0, 1.0, 0.5, 0.5, 2.0, 0.0]
    true = TrueTexts({"ids": ids, "mask": real}, known)
    said = {"ids": torch.tensor([[1, 2, 5, 2]]), "mask": torch.tensor([[True, False, True, True]])}
    placed = true.placed(said)
    # A token that is said not to be real is no answer.
    assert placed["placed_tokens"].tolist() == pytest.approx([1 / 3])
    assert placed["placed_tokens_gain"].tolist() == pytest.approx([1 / 3 - 2 / 3])
    # Both texts together: 1, 1, 2, 2, 3. In two texts four times 4 are to be expected, twice 1, once 2 and 3: by
    # Poisson's law the five likeliest are 4, 4, 1, 4, 2.
    listed = true.listed(torch.tensor([[0, 1, 3, 0, 0, 2]]))
    assert listed["tokens_found"].tolist() == pytest.approx([3 / 6])
    assert listed["tokens_found_gain"].tolist() == pytest.approx([3 / 6 - 2 / 5])


def test_fields_of_rows_are_kept_one_by_one(tmp_path):
    views = [{"name": "record", "batch_size": 1}, {"name": "batch", "batch_size": 4}]
    game = {"name": "reconstruction", "attacks": ["analytic", "tableak"], "records": 6, "budget": {"iterations": 150}}
    table = "number,kind,label\n" + "".join(
        f"{(7 * i) % 50 / 10},{'abc'[i % 3]},{int((7 * i) % 50 > 25)}\n" for i in range(120)
    )
    source = tmp_path / "people.csv"
    source.write_text(table, encoding="utf-8")
    mlp = Path(__file__).parents[2] / "sample_models" / "mlp.py"
    changes = {
        "model": {"entry": f"{mlp}:mlp", "args": {"features": 5, "hidden": [16]}},
        "data": {"source": f"csv:{source}", "label": "label", "held_out": 0.5},
        "audit__views": views,
        "audit__games": [game],
        "audit__epochs": [0],
        "train__epochs": 1,
        "gates": None,
    }
    run = ptaudit.audit(write_spec(tmp_path, **changes), out=tmp_path / "run", keep_records=True)
    for attack in ("analytic", "tableak"):
        assert rows(run.leakage, view="record", adversary=attack).value["fields"] > 0.9
    kept = read_samples(tmp_path / "run")
    by_field = kept[kept.metric.str.startswith("record/tableak/field ")]
    assert set(by_field.metric) == {"record/tableak/field number", "record/tableak/field kind"}
    assert len(by_field) == 12
    fields = rows(run.leakage, view="record", adversary="tableak").value["fields"]
    assert by_field.value.mean() == pytest.approx(fields)
    lines = [line for line in field_lines(kept) if line.view == "record"]
    gain = rows(run.leakage, view="record", adversary=lines[0].attack).value["fields_gain"]
    assert {line.field for line in lines} == {"number", "kind"}
    assert np.mean([line.above.value for line in lines]) == pytest.approx(gain)
    assert "Which fields of a record come back" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "which inputs encode one column" in " ".join(run.run.manifest["threat_model"])
