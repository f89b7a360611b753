"""Defenses, one file or folder each: settings, and what they do on a view and in training. No torch until one acts."""

from ptaudit.defenses.dp.settings import DpDefense, DpSgdSpec
from ptaudit.defenses.dropout.settings import DropoutDefense, DropoutTraining
from ptaudit.defenses.label_dp import LabelDpDefense, LabelDpTraining
from ptaudit.defenses.perturb.settings import PerturbDefense, PerturbTraining
from ptaudit.defenses.prune import PruneDefense, PruneTraining
from ptaudit.defenses.sign import SignDefense
from ptaudit.defenses.vib.settings import VibDefense, VibTraining
from ptaudit.spec.defenses import register

register(DpDefense, DpSgdSpec)
register(PruneDefense, PruneTraining)
register(SignDefense)
register(PerturbDefense, PerturbTraining)
register(DropoutDefense, DropoutTraining)
register(LabelDpDefense, LabelDpTraining)
register(VibDefense, VibTraining)
