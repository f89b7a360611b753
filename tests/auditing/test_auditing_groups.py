"""Membership by group in an audit: in the run folder, of the group that was learned by heart, the same when resumed."""

import numpy as np
import pandas as pd
import pytest
from audit_case import ONE_VIEW, call, tables, write_spec

import ptaudit
from ptaudit.auditing.epoch_store import EpochStore
from ptaudit.tables.folder import read_run

RECORDS = '''
import numpy as np

def planted(n=800):
    """A rule that is easily learned; in one town the labels are drawn by lot, and can only be learned by heart."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, 16), dtype=np.float32)
    town = generator.choice(["Aa", "Bb", "=Cc", "Dd"], n)
    town[:5] = "Ee"
    x[:, 0] += 3.0 * np.sign(x[:, 0]) * (town != "Bb")
    lot = generator.integers(0, 2, n)
    label, user = np.where(town == "Bb", lot, x[:, 0] > 0), generator.integers(0, 4, n)
    return {"x": x, "label": label, "town": town, "user": user}
'''
SPEC = {
    "model__entry": "models.py:net16",
    "data": {"source": "planted.py:planted", "attributes": ["town"], "user": "user"},
    "train__epochs": 60,
    "train__optimizer": {"name": "adam", "lr": 0.01},
    "audit__epochs": [0, 60],
    "audit__views": ONE_VIEW,
    "audit__games": ["membership"],
}


def write(folder, **changes):
    spec = write_spec(folder, **{**SPEC, **changes})
    (folder / "planted.py").write_text(RECORDS)
    with (folder / "models.py").open("a") as models:
        models.write("\ndef net16():\n    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2))\n")
    return spec


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    return ptaudit.audit(write(folder), out=folder / "run")


def of(run, **wanted):
    frame = pd.DataFrame(list(run.run.groups))
    return frame[np.logical_and.reduce([frame[name] == value for name, value in wanted.items()])]


def test_the_town_that_was_learned_by_heart_is_the_worst(run):
    last = of(run, epoch=60, grouping="attribute town", metric="auc").set_index("group")
    (adversary,) = set(last.adversary)
    rows = run.leakage[(run.leakage.epoch == 60) & (run.leakage.layer == "*") & (run.leakage.metric == "auc")]
    assert rows.set_index("adversary").lo.idxmax() == adversary  # the one that the summary shows
    average = rows.set_index("adversary").value[adversary]
    assert last.lo.idxmax() == "Bb"
    assert last.lo["Bb"] > average + 0.1
    assert (last.lo.drop("Bb").dropna() < average).all()
    assert "Worst of 4 groups: attribute town Bb, membership.auc" in " ".join(str(run).split())


def test_before_training_no_group_differs_and_small_ones_have_no_name(run):
    first = of(run, epoch=0, metric="auc")
    assert ((first.lo <= 0.5) | first.lo.isna()).all()
    town = of(run, grouping="attribute town", metric="auc", epoch=0)
    assert set(town.group) == {"Aa", "Bb", "=Cc", "Dd", ""}
    assert town.set_index("group").groups[""] == 1
    assert len(of(run, grouping="class", epoch=0)) == 4
    (user,) = of(run, grouping="user", metric="auc", epoch=0).itertuples()
    assert user.groups == 4
    assert user.group not in ("", "0", "1", "2", "3")


def test_the_folder_holds_it_and_nothing_else_changed(run, tmp_path):
    found = read_run(run.path)
    assert len(found.groups) == len(run.run.groups)
    assert found.manifest
    text = (run.path / "groups.csv").read_text()
    assert "'=Cc" in text
    assert "Ee" not in text + (run.path / "report.md").read_text()
    (run.path / "groups.csv").rename(tmp_path / "groups.csv")
    without = call("show", run.path, "--format", "plain")
    assert without.exit_code == 0
    assert "Worst of" not in without.stdout
    (tmp_path / "groups.csv").rename(run.path / "groups.csv")
    assert call("compare", run.path, run.path).exit_code == 0


def test_a_resumed_run_ends_with_the_same_groups(tmp_path, monkeypatch):
    spec = write(tmp_path, train__epochs=2, audit__epochs=[0, 2])
    whole = ptaudit.audit(spec, out=tmp_path / "whole")
    save = EpochStore.save

    def dies(self, epoch, audit, training):
        save(self, epoch, audit, training)
        if epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochStore, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        ptaudit.audit(spec, out=tmp_path / "run")
    monkeypatch.undo()
    ptaudit.audit(spec, out=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "groups.csv").read_bytes() == (whole.path / "groups.csv").read_bytes()
    assert tables(tmp_path / "run") == tables(whole.path)


def test_seeds_and_defenses_have_rows_of_their_own(tmp_path):
    changes = {"train__epochs": 1, "audit__epochs": [1], "train__seeds": [3, 4], "defenses": [{"name": "sign"}]}
    run = ptaudit.audit(write(tmp_path, **changes), out=tmp_path / "run")
    found = pd.DataFrame(list(run.run.groups))
    assert set(map(tuple, found[["seed", "trained_with"]].to_numpy())) == {
        (s, d) for s in (3, 4) for d in ("none", "sign")
    }


def test_where_members_differ_before_training_groups_are_not_comparable(tmp_path):
    """Held-out records from elsewhere: what an attack finds is not what training gave away."""
    np.savetxt(tmp_path / "members.txt", np.arange(400), fmt="%d")
    np.savetxt(tmp_path / "others.txt", np.arange(400, 800), fmt="%d")
    spec = write(tmp_path, train__epochs=1, audit__epochs=[0, 1],
                 data={**SPEC["data"], "members": "members.txt", "non_members": "others.txt"})  # fmt: skip
    shifted = RECORDS.replace("    town =", "    x[400:] += 2.0\n    town =", 1)
    (tmp_path / "planted.py").write_text(shifted)
    run = ptaudit.audit(spec, out=tmp_path / "run")
    assert all(one.status.startswith(("not comparable: ", "inconclusive: ")) for one in run.run.groups)
    assert any(one.status.startswith("not comparable: ") for one in run.run.groups)
    assert "Worst group: not known; not comparable" in " ".join(str(run).split())
