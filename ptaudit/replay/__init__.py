"""A training run, replayed: data, split, model, loss, epochs, checkpoints. Knows nothing of tokens or games."""

from ptaudit.replay.batch import Inputs
from ptaudit.replay.checkpoint import Checkpoint, CheckpointStore
from ptaudit.replay.data import Records, Source, open_source
from ptaudit.replay.device import pick_device
from ptaudit.replay.loss import PerRecordLoss, make_loss
from ptaudit.replay.loss_check import check_loss
from ptaudit.replay.model import build_model
from ptaudit.replay.moment import EpochStats, Moment, Observer
from ptaudit.replay.split import Split, make_split
from ptaudit.replay.trainer import Progress, Replay
from ptaudit.replay.walk import Walk

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "EpochStats",
    "Inputs",
    "Moment",
    "Observer",
    "PerRecordLoss",
    "Progress",
    "Records",
    "Replay",
    "Source",
    "Split",
    "Walk",
    "build_model",
    "check_loss",
    "make_loss",
    "make_split",
    "open_source",
    "pick_device",
]
