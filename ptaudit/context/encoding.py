"""Learned encoders of an audit: one for each view, trained on half of the audited records, used on the other half."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ptaudit.attacks.observed_density import every_record
from ptaudit.attacks.pairs import draw, sizes_of, split_records
from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.progress import Progress
from ptaudit.sketches.encoders.base import Encoder, Fitted
from ptaudit.spec.catalog import JOINT
from ptaudit.views import View

BATCH = 64
"""Batches of a view in one step of an encoder's training."""

_SHARES = (0.4, 0.1, 0.5)
"""Of the records: an encoder is trained on, stopped by, and used on."""

_FITTED = "fitted"


def records_left(records: int) -> int:
    """Of so many audited records those that play, where encoders are learned on the others."""
    return sizes_of(records, _SHARES)[-1]


class Encoders:
    """Encoders of one training run.

    Args:
        name: which kind.
        records: number of audited records.
        seed: of the parts of the records, the networks and their training.
        progress: where to report.

    Attributes:
        left: the records that no encoder is trained on or stopped by.
    """

    def __init__(self, name: str, records: int, seed: int, progress: Progress) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._own, self._held, self.left = split_records(torch.arange(records), _SHARES, generator)
        self._name, self._seed, self._progress = name, seed, progress
        self._of: dict[str, Encoder] = {}
        self._states: dict[str, dict[str, Tensor]] = {}
        self._epoch: dict[str, int] = {}

    def of(self, view: View, tokens: Tensor, epoch: int) -> Callable[[Tensor], Tensor]:
        """The encoder of a view, trained on the gradients of this epoch and of those before.

        Args:
            view: batch size, rounds and noise.
            tokens: of the audited records, `(L, N, dim)`; clipped already where the view clips.
            epoch: trained once for each.

        Returns:
            From sketches of batches `(L, G, dim)` to tokens `(1 + L, G, width)`, all layers jointly first.
        """
        name = view.name
        if name not in self._of or self._of[name].layers != len(tokens):  # a new layer has been reached
            self._of[name] = Encoder(self._name, len(tokens), tokens.shape[-1], self._seed, tokens.device)
            if name in self._states and self._epoch.get(name) is None:
                self._of[name].load(self._states[name])
        if self._epoch.get(name) != epoch:
            fitted = self._fit(self._of[name], view, tokens, epoch)
            shares = torch.tensor([fitted.explained, fitted.linear, fitted.chance])
            self._states[name] = {**self._of[name].state(), _FITTED: shares}
            self._epoch[name] = epoch
        return self._of[name].encode

    def _fit(self, encoder: Encoder, view: View, tokens: Tensor, epoch: int) -> Fitted:
        records = every_record(tokens, view.noise_std, None)

        def batches(part: Tensor) -> Callable[[torch.Generator], Tensor]:
            size = max(2 * view.batch_size, 2 * BATCH)

            def some(generator: torch.Generator) -> Tensor:
                chosen = part[torch.randperm(len(part), generator=generator)[:size]]
                return draw(records, [chosen], [1], view, generator).views[:, :BATCH].float()

            return some

        title = f"{self._name} of view {view.name}, epoch {epoch}"
        fitted = encoder.fit(batches(self._own), None, self._progress, title, batches(self._held))
        shares = f"{fitted.explained[0]:.0%} of all layers, {min(fitted.explained[1:]):.0%} of the worst one"
        self._progress.log(f"{title}: reconstructs {shares}")
        return fitted

    def warnings(self, layers: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """What a user must know of the encoders as they are now, before trusting their tokens.

        Args:
            layers: names of the layers of each view.
        """
        found = []
        for name, state in self._states.items():
            explained, linear, chance = (tuple(row) for row in state[_FITTED].tolist())
            text = Fitted(explained, linear, chance, 0, 0).warning([JOINT, *layers[name]])
            found += [f"View {name}: {text}"] if text else []
        return tuple(found)

    def save(self, folder: Path, epoch: int) -> None:
        """Keep what the encoders have learned after an epoch, beside what they had before: a run may be killed before
        the epoch is whole.
        """
        for name, state in self._states.items():
            write_whole(_path(folder, name, epoch), save(state))
        for name in self._states:
            for old in sorted(folder.glob(_path(folder, name, "??????").name))[:-2]:
                old.unlink()

    def load(self, folder: Path, epoch: int) -> None:
        """Go on from the states that were saved after an epoch.

        Raises:
            RunFolderError: a state is damaged or missing.
        """
        there = list(folder.glob(_path(folder, "*", epoch).name))
        if not there and list(folder.glob(_path(folder, "*", "*").name)):
            path = folder / f"encoder-{epoch:06d}"
            raise RunFolderError("the learned encoders are gone", where=str(path), remedy="use --fresh to start again")
        for path in sorted(there):
            try:
                self._states[_view(path)] = load_file(path)
            except Exception as error:  # a damaged file can fail in any way
                raise RunFolderError(
                    "the learned encoder is damaged", where=str(path), remedy="use --fresh to start again"
                ) from error

    def files(self) -> dict[str, bytes]:
        """The encoders as they are now, by view, as safetensors: without the sketches that they remember."""
        found = {}
        for name, state in self._states.items():
            found[name] = save({key: value for key, value in state.items() if key != "past"})
        return found


def _path(folder: Path, view: str, epoch: int | str) -> Path:
    number = epoch if isinstance(epoch, str) else f"{epoch:06d}"
    return folder / f"encoder-{number}-{view}.safetensors"


def _view(path: Path) -> str:
    return path.stem.split("-", 2)[2]
