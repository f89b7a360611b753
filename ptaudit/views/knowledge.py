"""What an adversary knows of the view that it looks at, as a value: three columns of every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Knowledge = Literal["adaptive", "static", "late"]
Knows = Literal["none", "others", "pool", "rest", "batch_norm"]


@dataclass(frozen=True)
class Asked:
    """An adversary as it is asked.

    Attributes:
        adversary: its name.
        knowledge: `adaptive`: prepared on views as they are shown; `static`: on undefended ones; `late`: with the
            weights of the epoch before. Who knows neither the defense nor the present weights is `static`.
        knows: what it knows of the records: `none`; the `others` of the batch; the `pool` that batches are drawn from;
            the `rest` of the target record; the `batch_norm` statistics of the batch.
    """

    adversary: str
    knowledge: Knowledge = "adaptive"
    knows: Knows = "none"

    @property
    def mistaken(self) -> bool:
        """Whether it prepared on something else than what is shown."""
        return self.knowledge != "adaptive"

    @property
    def key(self) -> str:
        """What tells it apart within one game: the name alone for an adaptive adversary."""
        return f"{self.knowledge}-{self.adversary}" if self.mistaken else self.adversary
