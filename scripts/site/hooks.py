"""Hook of mkdocs: fills the marked places of a page with what the code says, so that the two cannot drift apart.

A place is a line `<!-- generated: KIND NAME -->`, e.g. `<!-- generated: game identity -->`; kinds are in `KINDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import entries
import generated

KINDS: Mapping[str, Callable[..., str]] = {
    "game": entries.game,
    "games": entries.games,
    "membership": entries.membership_attack,
    "inversion": entries.inversion_attack,
    "family": entries.family,
    "estimator": entries.estimator,
    "defense": entries.defense,
    "spec": generated.spec,
    "metrics": generated.metrics,
    "leakage": generated.leakage,
    "sheets": generated.sheets,
    "files": generated.other_files,
    "statuses": generated.statuses,
    "exit-codes": generated.exit_codes,
    "formats": generated.formats,
    "verbs": generated.verbs,
}
"""Kind of a place to what is written there; the words after the kind are its arguments."""

MARK = re.compile(r"^<!-- generated: (\S+)((?: \S+)*) -->$", re.MULTILINE)


def filled(markdown: str) -> str:
    """A page with every marked place filled.

    Raises:
        ValueError: a place asks for a kind, or for a name, that there is not.
    """
    return MARK.sub(_text, markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return filled(markdown)


def _text(place: re.Match[str]) -> str:
    kind, names = place[1], place[2].split()
    if kind not in KINDS:
        raise ValueError(f"{place[0]}: no such kind; there are {', '.join(KINDS)}")
    try:
        return KINDS[kind](*names)
    except KeyError as error:
        raise ValueError(f"{place[0]}: there is no {error}") from error
