"""The inversion attacks by name, one line each: what they do, on what, what they cost; nothing is imported."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from ptaudit.progress import Silent

if TYPE_CHECKING:
    import torch

    from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
    from ptaudit.progress import Progress

EVERY_KIND = ("picture", "table", "tokens")
NUMBERS = ("picture", "table")


@dataclass(frozen=True)
class InversionAttack:
    """An attack; its module is imported when it is first called.

    Attributes:
        module: has `rebuild`, see `messages.Rebuild`, and may have `why_not(seen, granted)`.
        says: what it does, a sentence for users.
        kinds: of inputs that it rebuilds, see `messages.InputSpace.kind`.
        passes: passes forward and backward that an iteration takes for each record; 0 where there are no iterations.
        most_records: largest batch; None where there is no largest one.
        updates: whether it rebuilds from updates of several local steps.
        says_of: what it says something of: whole `records`, the `labels` of a batch, or the `tokens` of one.
    """

    module: str
    says: str
    kinds: tuple[str, ...] = NUMBERS
    passes: int = 0
    most_records: int | None = None
    updates: bool = False
    says_of: Literal["records", "labels", "tokens"] = "records"

    @property
    def cost(self) -> str:
        """What it spends, in users' words."""
        if not self.passes:
            return "closed form"
        return f"{self.passes} passes for each record, iteration and restart"

    def why_not(self, seen: SharedGradients, granted: Granted) -> str:
        """Why it cannot rebuild, all of it; empty where it can."""
        found = []
        if granted.space.kind not in self.kinds:
            found.append(f"rebuilds no {granted.space.kind} inputs")
        if self.most_records is not None and seen.batch_size > self.most_records:
            found.append(f"rebuilds batches of at most {self.most_records}, not {seen.batch_size}")
        if seen.update is not None and seen.update.local_steps > 1 and not self.updates:
            found.append("rebuilds from gradients, not from updates of several steps")

        if not found and (own := getattr(self._module, "why_not", None)) is not None:
            with _undisturbed(granted):
                found += [reason] if (reason := own(seen, granted)) else []
        return "; ".join(found)

    def rebuild(
        self,
        seen: SharedGradients,
        granted: Granted,
        budget: Budget,
        generator: torch.Generator,
        progress: Progress | None = None,
    ) -> Reconstruction:
        """The records of every target, see `messages.Reconstruction`.

        Raises:
            ValueError: if it does not apply, see `why_not`.
        """
        if reason := self.why_not(seen, granted):
            raise ValueError(reason)
        with _undisturbed(granted):
            found: Reconstruction = self._module.rebuild(seen, granted, budget, generator, progress or Silent())
        return found

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(self.module)


def _undisturbed(granted: Granted) -> AbstractContextManager[None]:
    """The model in evaluation mode, and as it was afterwards."""
    from ptaudit.gradients.frozen_state import frozen_state

    return frozen_state(granted.model, granted.device)


_HERE = "ptaudit.attacks.inversion"

ATTACKS: dict[str, InversionAttack] = {
    "labels": InversionAttack(
        f"{_HERE}.labels",
        "Reads the classes of a batch from the gradient of the last layer.",
        EVERY_KIND,
        updates=True,
        says_of="labels",
    ),
    "analytic": InversionAttack(
        f"{_HERE}.analytic", "Divides the gradient of the first linear layer by that of its bias.", updates=True
    ),
    "r-gap": InversionAttack(
        f"{_HERE}.r_gap",
        "Undoes convolutions one after the other, from the last layer to the record, by their own equations.",
        most_records=1,
    ),
    "bag-of-words": InversionAttack(
        f"{_HERE}.bag_of_words",
        "Reads which tokens are in a batch from the rows of the embedding that have a gradient.",
        ("tokens",),
        updates=True,
        says_of="tokens",
    ),
    "dager": InversionAttack(
        f"{_HERE}.dager", "Tries tokens and texts against the row spaces of the first layers' gradients.", ("tokens",)
    ),
    "dlg": InversionAttack(
        f"{_HERE}.dlg", "Moves dummy records by L-BFGS until their gradient is the one seen.", passes=2, updates=True
    ),
    "inverting-gradients": InversionAttack(
        f"{_HERE}.inverting_gradients",
        "Turns the gradient of dummy records into the direction of the one seen, and keeps pictures smooth.",
        passes=2,
        updates=True,
    ),
    "feature-inversion": InversionAttack(
        f"{_HERE}.feature_inversion",
        "Reads what the first linear layer is given, and searches for a smooth picture that gives the same.",
        passes=1,
        updates=True,
    ),
    "tableak": InversionAttack(
        f"{_HERE}.tableak",
        "Searches for rows whose categories are shares of one column each, from several starts that vote.",
        ("table",),
        passes=2,
        updates=True,
    ),
    "grad-inversion": InversionAttack(
        f"{_HERE}.grad_inversion",
        "Several searches for plausible records, which are pulled towards their mean.",
        passes=2,
        updates=True,
    ),
}
"""The order is that of every listing: those in closed form first, then by what they cost."""
