"""The membership attacks by name, one line each: what they need, what they do, what they cost; nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.attacks.registry import load

if TYPE_CHECKING:
    from ptaudit.attacks.membership.signals import Array, References, Signals

SIGNALS = {
    "confidence": "confidences",
    "losses": "losses",
    "modified_entropy": "class probabilities",
    "labels": "labels",
    "loss_trace": "losses of several epochs",
    "gradient_norms": "gradient norms",
    "update_products": "products of gradients with the weights' update",
    "boundary_distances": "distances from the decision boundary",
    "features": "inputs as numbers",
    "known_outside": "records known not to be members",
}
"""Fields of `Signals` that an attack may need, in users' words."""

FREE = "no further training"
WITHOUT = "reference models trained without each record"
BOTH = "reference models trained with and without each record"


@dataclass(frozen=True)
class MembershipAttack:
    """An attack; its module is imported when it is first called.

    Attributes:
        place: `module:function` of (target, references).
        says: what it does, a sentence for users.
        needs: fields of `Signals` that must have been read, of the target and of reference models alike.
        inside: fewest reference models that were trained on each record.
        outside: fewest reference models that were not.
        epochs: fewest epochs of the loss trace.
        learns: whether it fits a model for each target, which is too dear to repeat for every model of a fleet.
    """

    place: str
    says: str
    needs: tuple[str, ...] = ("confidence",)
    inside: int = 0
    outside: int = 0
    epochs: int = 0
    learns: bool = False

    @property
    def learns_of_records(self) -> bool:
        """Whether it learns from records that are no members, and is to be scored on others."""
        return "known_outside" in self.needs

    @property
    def cost(self) -> str:
        """What has to be trained for it, in users' words."""
        if not self.outside:
            return FREE
        return BOTH if self.inside else WITHOUT

    def models(self, left_out: int = 0) -> int:
        """Models of a fleet that are enough, where every record is in half of them.

        Args:
            left_out: pairs that are no references: 0 for another target, 1 for `fleet_scores`.
        """
        return 2 * (max(self.inside, self.outside, 1) + left_out)

    def missing(self, target: Signals, references: References | None) -> str:
        """What the attack needs and does not have, all of it; empty where it can run."""
        found = self._unread(target, "")
        if self.epochs and target.loss_trace is not None and len(target.loss_trace) < self.epochs:
            found.append(f"losses of {self.epochs} epochs, there are {len(target.loss_trace)}")
        if self.outside and references is None:
            found.append(self.cost)
        elif self.outside and references is not None:
            found += self._unread(references.signals, " of the reference models") + self._too_few(references.fewest())
        return f"needs {'; '.join(found)}" if found else ""

    def _unread(self, signals: Signals, whose: str) -> list[str]:
        """Signals that were not read, or are not numbers (of a model that diverged, say)."""
        found = []
        for name in self.needs:
            value = getattr(signals, name)
            if value is None:
                found.append(f"{SIGNALS.get(name, name)}{whose}")
            elif broken := int(np.count_nonzero(~np.isfinite(value))):
                found.append(f"{SIGNALS.get(name, name)}{whose} that are finite numbers, {broken} are not")
        return found

    def too_few_of(self, models: int) -> str:
        """What it needs of a fleet of so many models, half of which have each record; empty if they are enough."""
        found = self._too_few((models // 2, models // 2))
        return f"needs {found[0]}" if found else ""

    def _too_few(self, fewest: tuple[int, int]) -> list[str]:
        """What it needs where a record is inside and outside so many models."""
        inside, outside = fewest
        if inside >= self.inside and outside >= self.outside:
            return []
        wanted, there = f"{self.outside} models", f"{outside}"
        if self.inside:
            wanted, there = f"{self.inside} models with and {self.outside}", f"{inside} and {outside}"
        return [f"{wanted} without each record, there is one with {there}"]

    def __call__(self, target: Signals, references: References | None = None) -> Array:
        """Scores `(n,)`, higher = more likely a member.

        Raises:
            ValueError: if something is missing that it needs.
        """
        if reason := self.missing(target, references):
            raise ValueError(reason)
        scores: Array = load(self.place)(target, references)
        return scores


_HERE = "ptaudit.attacks.membership"
_LOSSES = ("losses",)
_ENTROPY = ("modified_entropy",)
_RISK = ("modified_entropy", "labels")

ATTACKS: dict[str, MembershipAttack] = {
    "loss": MembershipAttack(f"{_HERE}.loss:score", "Low losses are members'.", _LOSSES),
    "modified-entropy": MembershipAttack(
        f"{_HERE}.modified_entropy:score", "Certain and right predictions are members'.", _ENTROPY
    ),
    "privacy-risk": MembershipAttack(
        f"{_HERE}.privacy_risk:score", "Probability of membership given class and modified entropy.", _RISK, 1, 1
    ),
    "calibrated-loss": MembershipAttack(
        f"{_HERE}.calibrated_loss:score", "Losses lower than in models without the record.", _LOSSES, 0, 1
    ),
    "attack-r": MembershipAttack(
        f"{_HERE}.attack_r:score", "Rank of the loss among models without the record.", _LOSSES, 0, 1
    ),
    "lira-online": MembershipAttack(
        f"{_HERE}.lira:online", "Likelihood ratio of two Gaussians for each record.", inside=2, outside=2
    ),
    "lira-online-global": MembershipAttack(
        f"{_HERE}.lira:online_global", "Likelihood ratio with one variance for all records.", inside=2, outside=2
    ),
    "lira-offline": MembershipAttack(
        f"{_HERE}.lira:offline", "Confidence above models without the record, in their spread.", outside=2
    ),
    "lira-offline-global": MembershipAttack(
        f"{_HERE}.lira:offline_global", "Confidence above models without the record, in one spread for all.", outside=2
    ),
    "rmia-online": MembershipAttack(
        f"{_HERE}.rmia:online", "Gain in likelihood over reference models, against other records'.", _LOSSES, 1, 1
    ),
    "rmia-offline": MembershipAttack(
        f"{_HERE}.rmia:offline", "Gain in likelihood over models without the record, against others'.", _LOSSES, 0, 1
    ),
    "bavaria-online": MembershipAttack(
        f"{_HERE}.bavaria:online", "Likelihood ratio, variances shared where models are few.", inside=2, outside=2
    ),
    "bavaria-offline": MembershipAttack(
        f"{_HERE}.bavaria:offline", "Confidence above models without the record, variances shared likewise.", outside=2
    ),
    "shadow-classifier": MembershipAttack(
        f"{_HERE}.shadow_classifier:score",
        "Trees that learned on the reference models how members differ.",
        ("losses", "confidence"),
        3,
        3,
        learns=True,
    ),
    "loss-trace": MembershipAttack(
        f"{_HERE}.loss_trace:score", "Records whose loss moved most while the model trained.", ("loss_trace",), epochs=4
    ),
    "quantile-regression": MembershipAttack(
        f"{_HERE}.quantile_regression:score",
        "Confidence above what held-out records like it have, foretold from inputs and label.",
        ("features", "known_outside", "confidence"),
    ),
    "adversarial-distance": MembershipAttack(
        f"{_HERE}.adversarial_distance:score",
        "Members are far from the boundary of their class.",
        ("boundary_distances",),
    ),
    "gradient-norm": MembershipAttack(
        f"{_HERE}.gradient:norm", "Short gradients are members'.", ("gradient_norms",)
    ),
    "update-product": MembershipAttack(
        f"{_HERE}.gradient:update_product",
        "The last update points against the gradients of members.",
        ("update_products", "gradient_norms"),
    ),
}  # fmt: skip
"""The order is that of every listing: first those that need no reference models of each kind, then dearer ones."""
