"""How another machine comes to the session of a run: from the spec, as text, and the files that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ptaudit.auditing.opening import defended_session, open_session
from ptaudit.auditing.run_key import key
from ptaudit.context.session import Session
from ptaudit.spec.load import dump, restore


@dataclass(frozen=True)
class SessionRecipe:
    """Makes a session without reference models.

    Attributes:
        spec_text: the resolved spec of the run.
        device: where to train: `cpu` or `cuda`.
        defense: title of the defense that is trained with; empty for the training as it is.
    """

    spec_text: str
    device: str
    defense: str = ""

    @classmethod
    def of(cls, session: Session) -> SessionRecipe:
        """Of a session whose spec is that of the run."""
        return cls(dump(session.spec), session.device.type)

    @property
    def part(self) -> str:
        """The folder of this training among those of the run."""
        return part_of(self.defense)

    def opened(self) -> Session:
        """The session. Of a defense it is made from that of the run, whose canaries may be among the records."""
        session = open_session(restore(self.spec_text), torch.device(self.device))
        return defended_session(session, session.spec.defended[self.defense]) if self.defense else session

    def __call__(self) -> tuple[Session, Mapping[str, str]]:
        """The session, and what its tables depend on."""
        session = self.opened()
        return session, key(session, dump(session.spec))


def part_of(defense: str) -> str:
    """The folder of the training with a defense, by its title; none for the training as it is."""
    return f"defenses/{defense}" if defense else ""
