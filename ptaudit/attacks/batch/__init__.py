"""Posteriors over a secret of a batch, fitted on observed batches.

The adversary draws batches from its own records, looks at them through the same view and knows their secrets. It fits
a family of posteriors to single observations, sums what every round says, and chooses setting, layer and calibration on
whole games; see `prepare`.
"""

from ptaudit.attacks.batch.adversary import prepare
from ptaudit.attacks.batch.observations import FitObservations, NumberBlock, ObservedGames, PlayedObservations
from ptaudit.attacks.registry import COMBINED

__all__ = ["COMBINED", "FitObservations", "NumberBlock", "ObservedGames", "PlayedObservations", "prepare"]
