"""A folder of evidence says what the tables say, and whatever is changed in it afterwards is found and named."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from evidence.evidence_case import SPEC, evidence_run
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.errors import PtauditError, RunFolderError
from ptaudit.evidence.content import privacy_of
from ptaudit.evidence.folder import write_evidence
from ptaudit.evidence.sums import sums_of, sums_text
from ptaudit.evidence.verify import verify
from ptaudit.spec.attack_classes import ATTACK_CLASSES
from ptaudit.spec.registry import GAMES
from ptaudit.tables.digests import digest_of
from ptaudit.tables.folder import write_run
from ptaudit.tables.formats import json_text


@pytest.fixture
def run_folder(tmp_path):
    write_run(evidence_run(), tmp_path / "run", {"report.md": "# report\n", "report.html": "<p>report</p>\n"})
    return tmp_path / "run"


@pytest.fixture
def folder(run_folder, tmp_path):
    write_evidence(run_folder, tmp_path / "evidence")
    return tmp_path / "evidence"


def content(folder):
    return json.loads((folder / "evidence.json").read_text())


def forge(folder):
    """New sums, as somebody writes them who changes files on purpose."""
    (folder / "SHA256SUMS").write_text(sums_text(sums_of(folder)))


def test_what_was_written_holds(folder):
    checked = verify(folder)
    assert checked.wrong == ()
    assert "2 verdicts derived again" in checked.right[1]
    assert "fixed before the run" in checked.right[2]
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "evidence.json", "evidence.md", "run"]


def test_every_attack_class_has_a_row_that_follows_from_the_games_played(folder):
    entries = {entry["name"]: entry for entry in content(folder)["attacks"]}
    assert list(entries) == list(ATTACK_CLASSES)
    assert {name: entry["state"] for name, entry in entries.items()} == {
        "membership inference": "run",
        "attribute inference": "run",
        "reconstruction": "not run",
        "model inversion": "not run",
        "exfiltration": "not applicable",
        "regurgitation": "not applicable",
    }
    worst = entries["membership inference"]["worst"]
    assert (worst["game"], worst["view"], worst["layer"]) == ("identity", "record", "*")
    assert worst["lo"] <= worst["value"] <= worst["hi"] <= worst["ceiling"]
    assert "content, reconstruction" in entries["reconstruction"]["why"]


def test_an_attack_that_was_tried_in_vain_was_not_run():
    from ptaudit.evidence.attacks import attack_entries

    run = evidence_run()
    lost = run.rows.where(game="label", view="dp", metric="bits")
    entries = {entry["name"]: entry for entry in attack_entries(replace(run, rows=lost))}
    assert entries["attribute inference"]["state"] == "not run"
    assert "inconclusive: too few records" in entries["attribute inference"]["why"]


def test_a_regression_model_is_not_called_one_that_cannot_regurgitate():
    from ptaudit.evidence.attacks import attack_entries

    run = evidence_run()
    manifest = {name: value for name, value in run.manifest.items() if name != "held_out_majority"}
    assert {e["state"] for e in attack_entries(replace(run, manifest=manifest))[-2:]} == {"not run"}


def test_every_game_names_classes_that_there_are():
    named = {one for name in GAMES for one in GAMES[name].attack_classes}
    assert named == {"membership inference", "attribute inference", "reconstruction"}


def test_it_has_the_worst_group_the_promise_and_the_hashes(folder):
    said = content(folder)
    worst = said["worst_and_average"][0]
    assert (worst["number"], worst["worst"], worst["value"]) == ("membership.auc", "class 1", 0.71)
    assert worst["average"] == pytest.approx(0.561)
    assert said["privacy"]["promise"].startswith("none")
    assert "the sum of the gradients of 32 records after dp" in said["privacy"]["trust_model"][3]
    assert said["hashes"]["code"] == {"lenet.py": "c" * 64}
    text = (folder / "evidence.md").read_text()
    for heading in ("Threat modelling", "Adversarial testing", "Mitigation", "Evaluate again when", "Thresholds"):
        assert f"## {heading}" in text
    assert "no-worse needs a baseline" in text


def test_what_a_defense_promises_is_told_with_its_adjacency_and_what_was_spent():
    defended = "loss: cross_entropy, defense: {name: dp_sgd, clip: 1.0, epsilon: 8.0, delta: 1.0e-5}}"
    run = evidence_run(SPEC.replace("loss: cross_entropy}", defended))
    run = replace(run, epochs=tuple(replace(epoch, epsilon=7.5) for epoch in run.epochs))
    said = privacy_of(run)
    assert "adding or removing one member" in said["promise"]
    assert (said["epsilon"], said["delta"]) == (7.5, 1e-5)
    assert privacy_of(evidence_run())["epsilon"] is None


def test_one_byte_in_any_file_is_found_and_the_file_is_named(folder):
    generator = random.Random(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        place = generator.randrange(len(whole))
        changed = bytes([whole[place] ^ (1 << generator.randrange(8))])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        name = path.relative_to(folder).as_posix()
        wrong = verify(folder).wrong
        assert wrong, name
        if name != "SHA256SUMS":
            assert wrong[0].startswith(f"{name}: "), (name, wrong)
        path.write_bytes(whole)
    assert verify(folder).wrong == ()


def test_files_that_are_gone_or_were_put_there_are_named(folder):
    (folder / "more.txt").write_text("x")
    (folder / "run" / "report.md").unlink()
    assert verify(folder).wrong == ("more.txt: is not in SHA256SUMS", "run/report.md: is missing")
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(RunFolderError, match="is a link"):
        verify(folder)


def test_a_verdict_that_does_not_follow_from_the_tables_is_found_behind_new_hashes(folder):
    said = content(folder)
    assert said["verdicts"][1]["outcome"] == "fail"
    said["verdicts"][1]["outcome"] = said["verdict"] = "pass"
    (folder / "evidence.json").write_text(json_text(said))
    forge(folder)
    wrong = verify(folder).wrong
    assert "evidence.json: verdict: 'pass' is written, the tables say 'fail'" in wrong
    assert "evidence.json: verdicts.1.outcome: 'pass' is written, the tables say 'fail'" in wrong


def test_what_another_release_wrote_is_held_to_its_verdicts_alone(folder):
    said = content(folder) | {"written_by": "0.0.1", "not_shown": ["in other words"]}
    (folder / "evidence.json").write_text(json_text(said))
    forge(folder)
    checked = verify(folder)
    assert checked.wrong == ()
    assert any("written by ptaudit 0.0.1" in note for note in checked.notes)
    said["verdicts"][0]["threshold"], said["attacks"][2]["state"] = 9.0, "run"
    (folder / "evidence.json").write_text(json_text(said))
    forge(folder)
    assert verify(folder).wrong == (
        "evidence.json: gate batch-leak: threshold: 9.0 is written, the tables say 5.0",
        "evidence.json: reconstruction: 'run' is written, the tables say 'not run'",
    )
    (folder / "evidence.json").write_text(json_text({**said, "verdicts": said["verdicts"][:1]}))
    forge(folder)
    assert any(line.startswith("evidence.json: gates: ['batch-leak'] is written") for line in verify(folder).wrong)


@pytest.mark.parametrize(("change", "found"), [
    (lambda gates: gates[1:], "gate batch-leak: is missing"),
    (lambda gates: [{**gates[0], "over": "all"}, *gates[1:]], "gate batch-leak: over: 'all' is written"),
    (lambda gates: [{**gates[0], "rows": gates[0]["rows"] + 1}, *gates[1:]], "gate batch-leak: rows: "),
    (lambda gates: [*gates, {**gates[0], "id": "more"}], "gate more: the spec has no such gate"),
])  # fmt: skip
def test_verdicts_of_the_run_that_do_not_follow_are_found_behind_new_hashes(folder, change, found):
    path = folder / "run" / "gates.json"
    path.write_text(json_text(change(json.loads(path.read_text()))))
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    manifest["files"]["gates.json"] = digest_of(path.read_text())
    (folder / "run" / "manifest.json").write_text(json_text(manifest))
    forge(folder)
    assert any(line.startswith(f"run/gates.json: {found}") for line in verify(folder).wrong)


def test_gates_that_wait_for_a_baseline_are_said(folder):
    assert content(folder)["verdict"] != "pass"
    assert "gate no-worse was not decided: it needs a baseline, which the folder does not have" in verify(folder).notes


def test_a_pipe_is_no_file_of_evidence(folder):
    os.mkfifo(folder / "run" / "pipe")
    with pytest.raises(RunFolderError, match="is no plain file"):
        verify(folder)


def test_a_page_that_says_something_else_is_found_behind_new_hashes(folder):
    page = folder / "evidence.md"
    page.write_text(page.read_text().replace("not run", "run"))
    forge(folder)
    assert verify(folder).wrong == ("evidence.md: does not say what the tables say",)


def test_thresholds_that_were_moved_after_the_run_are_found(tmp_path):
    moved = SPEC.replace("max_share: 0.2", "max_share: 0.9")
    run = evidence_run(moved)
    began = evidence_run(SPEC).manifest["thresholds"]
    write_run(replace(run, manifest={**run.manifest, "thresholds": began}), tmp_path / "run")
    write_evidence(tmp_path / "run", tmp_path / "evidence")
    assert verify(tmp_path / "evidence").wrong == (
        "run/spec.resolved.yaml: its gates are not those that were fixed before the run",
    )
    assert "NOT those that the run began with" in (tmp_path / "evidence" / "evidence.md").read_text()
    none = {name: value for name, value in run.manifest.items() if name != "thresholds"}
    write_run(replace(run, manifest=none), tmp_path / "old")
    write_evidence(tmp_path / "old", tmp_path / "unknown")
    checked = verify(tmp_path / "unknown")
    assert (checked.wrong, "may have been chosen afterwards" in checked.notes[0]) == ((), True)


def test_with_a_baseline_increases_are_decided_and_derived_again(run_folder, tmp_path):
    judged = write_evidence(run_folder, tmp_path / "evidence", baseline=run_folder)
    assert [verdict.outcome for verdict in judged.verdicts] == ["pass", "fail", "inconclusive"]
    assert content(tmp_path / "evidence")["gates_without_a_baseline"] == []
    assert verify(tmp_path / "evidence").wrong == ()
    (tmp_path / "evidence" / "baseline" / "leakage.csv").unlink()
    assert verify(tmp_path / "evidence").wrong == ("baseline/leakage.csv: is missing",)


def test_scores_of_single_records_stay_at_home(run_folder, tmp_path):
    run = evidence_run()
    (run_folder / "samples.csv").write_text("epoch,layer,game,score,sample,seed,value\n")
    write_run(run, run_folder)
    write_evidence(run_folder, tmp_path / "evidence")
    assert not list((tmp_path / "evidence").rglob("samples.csv"))
    assert verify(tmp_path / "evidence").wrong == ()


def test_what_cannot_be_written_leaves_nothing(run_folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(RunFolderError, match="exists and is not empty"):
        write_evidence(run_folder, tmp_path / "full")
    (run_folder / "manifest.json").unlink()
    with pytest.raises(RunFolderError, match=r"no manifest\.json"):
        write_evidence(run_folder, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "run"]


def test_exit_codes_of_both_verbs(run_folder, tmp_path):
    call = CliRunner().invoke
    made = call(app, ["evidence", str(run_folder), "--out", str(tmp_path / "e")])
    assert (made.exit_code, "evidence.md: fail, 2 of 6 classes of attacks were run" in made.stdout) == (0, True)
    assert "1 gate not decided, for want of --baseline: no-worse" in made.stderr
    held = call(app, ["verify", str(tmp_path / "e")])
    assert (held.exit_code, held.stdout.startswith("holds: every file is as SHA256SUMS has it")) == (0, True)
    (tmp_path / "e" / "run" / "epochs.csv").write_text("x")
    broken = call(app, ["verify", str(tmp_path / "e")])
    assert (broken.exit_code, broken.stdout) == (
        1,
        "does not hold: run/epochs.csv: is not as it was written (its SHA-256, or its line in SHA256SUMS, differs)\n",
    )
    assert call(app, ["verify", str(run_folder)]).exit_code == 2
    assert call(app, ["verify", str(tmp_path / "nowhere")]).exit_code == 2
    assert call(app, ["evidence", str(tmp_path / "nowhere"), "--out", str(tmp_path / "f")]).exit_code == 2
    assert not (tmp_path / "f").exists()


def test_verify_loads_no_torch(folder):
    code = f"""
import sys
sys.argv = ["ptaudit", "verify", {str(folder)!r}]
from ptaudit.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# --- signatures


@pytest.fixture
def keys(tmp_path: Path):
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives import serialization as s

    paths = []
    for name in ("ours", "other"):
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
        paths.append((tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"))
        paths[-1][0].write_bytes(private)
        paths[-1][1].write_bytes(public)
    return paths


def test_only_who_has_the_key_can_sign_what_was_changed(run_folder, tmp_path, keys):
    (private, public), (_, stranger) = keys
    folder = tmp_path / "evidence"
    write_evidence(run_folder, folder, key=private)
    checked = verify(folder, public)
    assert (checked.wrong, "which the holder of" in checked.right[0]) == ((), True)
    assert "was not checked" in verify(folder).notes[0]
    assert verify(folder, stranger).wrong == ("SHA256SUMS.sig: is not a signature of SHA256SUMS",)
    page = folder / "run" / "report.md"
    page.write_text("another report\n")
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    manifest["files"].pop("report.md")
    (folder / "run" / "manifest.json").write_text(json_text(manifest))
    forge(folder)
    assert verify(folder).wrong == ()  # hashes find accidents, not forgers
    assert verify(folder, public).wrong == ("SHA256SUMS.sig: is not a signature of SHA256SUMS",)
    (folder / "SHA256SUMS.sig").unlink()
    assert verify(folder, public).wrong == ("SHA256SUMS.sig: is missing: nobody signed SHA256SUMS",)


def test_what_is_no_key_is_said_with_the_command_that_makes_one(run_folder, tmp_path, keys):
    (private, public), _ = keys
    with pytest.raises(PtauditError, match=r"not an Ed25519 private key.*openssl genpkey"):
        write_evidence(run_folder, tmp_path / "a", key=public)
    write_evidence(run_folder, tmp_path / "b", key=private)
    with pytest.raises(PtauditError, match=r"not an Ed25519 public key.*-pubout"):
        verify(tmp_path / "b", private)
    assert not (tmp_path / "a").exists()
