"""The tables that are derived from the leakage table: one line each, which the run folder and reports list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ptaudit.tables.defenses import defenses_sheet
from ptaudit.tables.dynamics import dynamics_sheet
from ptaudit.tables.groups import groups_sheet
from ptaudit.tables.localisation import localisation_sheet
from ptaudit.tables.run import Run
from ptaudit.tables.sweeps import threats_sheet
from ptaudit.tables.wide import Sheet, epochs_sheet, layer_epoch_sheet, layers_sheet


@dataclass(frozen=True)
class SheetEntry:
    """A file of a run folder: how it is made, what is in it, and whether it is there without rows too."""

    make: Callable[[Run], Sheet]
    what: str
    always: bool = False


SHEETS: dict[str, SheetEntry] = {
    "layers.csv": SheetEntry(
        layers_sheet, "first, last and maximum over epochs for each layer, view, game and metric", always=True
    ),
    "epochs.csv": SheetEntry(
        epochs_sheet, "losses, accuracies, the joint row and the worst layer of each epoch", always=True
    ),
    "layer_epoch.csv": SheetEntry(layer_epoch_sheet, "layer by epoch, wide", always=True),
    "threats.csv": SheetEntry(threats_sheet, "what adversaries of each knowledge find, last epoch"),
    "defenses.csv": SheetEntry(
        defenses_sheet, "accuracy and leakage of each defense, static and adaptive adversaries side by side"
    ),
    "localisation.csv": SheetEntry(
        localisation_sheet, "sensitivity, subspace and Jensen-Shannon distance of every layer"
    ),
    "dynamics.csv": SheetEntry(
        dynamics_sheet, "how records move over the plane of false-positive and true-positive rates; early warning"
    ),
    "groups.csv": SheetEntry(
        groups_sheet, "membership by class, attribute and user; intervals hold for all groups of a kind at once"
    ),
}
"""Name of a file to its entry, in the order of reports."""
