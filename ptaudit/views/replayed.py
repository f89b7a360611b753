"""Views that do not add up: the true gradient of every batch is computed, defended, and shown as tokens are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ptaudit.gradients.keep import KeptSketch, as_kept, kept_sketch
from ptaudit.gradients.matrices import Matrices, RecordGradients, at_once
from ptaudit.gradients.projection import LayerSketch
from ptaudit.model_input import Inputs
from ptaudit.sketches.reader import TokenReader
from ptaudit.sketches.tokens import SketchedModel
from ptaudit.spec.defenses import UNDEFENDED, DefenseSpec
from ptaudit.views.aggregate import sums
from ptaudit.views.gradients import TABLE_BYTES, BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.view import View


@dataclass(frozen=True)
class Shown:
    """A layer that the view shares.

    Attributes:
        sketch: its projection, that of its tokens.
        paths: by name inside the layer, the path of each parameter.
        kept: its matrices of records, where they are known.
        form: the form in which matrices are kept.
    """

    sketch: LayerSketch
    paths: dict[str, str]
    kept: Sequence[RecordGradients] = ()
    form: KeptSketch | None = None


@dataclass(frozen=True)
class ReplayedObservation:
    """Batches as a view with a defense or an update shows them.

    What is seen has the scale of `TokenObservation`: the defended MEAN gradient of a batch times its m records, summed
    over the view's users, so that a view without defense is the sum of its records' tokens. A defense that changes the
    scale (`sign`) changes it here too.

    An observation belongs to the weights at which it was made, and is used while the model has them.

    Attributes:
        batches: gradients of the audited records.
        shown: the L layers that the view shares.
        joint: how joint rows are made of them.
        view: batch size, users, defense and update.
        targets: of the audited records, `(N, ...)`, on the CPU.
        responses: tokens of every record with every label, `(R, N * labels, k)`: sums of these are what a view shows
            whose defense is about labels only.
    """

    batches: BatchGradients
    shown: tuple[Shown, ...]
    joint: Joint
    view: View
    targets: Tensor
    responses: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        reader: TokenReader,
        batches: BatchGradients,
        view: View,
        joint: Joint,
        layers: Mapping[str, Sequence[RecordGradients]],
    ) -> ReplayedObservation:
        """The observation of a view on some records, at the present weights of the reader's model.

        Args:
            reader: of the model, prepared; the tokens that static adversaries are fitted on come from it.
            batches: gradients of the records, see `batch_gradients`.
            view: the view, which `why_not` finds nothing against.
            joint: as it is for the tokens of the same view without defense.
            layers: those that the view shares and the reader captures by name, in model order, with the matrices of
                the records; of none nothing is shown as matrices.
        """
        source = reader.source
        own = {layer.name: layer for layer in source.layers}
        shown = tuple(
            Shown(
                source.sketches[name],
                {p: own[name].path(p) for p in own[name].parameters},
                matrices,
                kept_sketch(own[name], reader.seed, source.device) if matrices else None,
            )
            for name, matrices in layers.items()
        )
        responses = _responses(reader, batches, view, list(layers), joint)
        return cls(batches, shown, joint, view, batches.records.targets.cpu(), responses)

    def observe(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """See `Observation.observe`; members `(G, m * users)`, the batches of the users one after the other.

        Batches of another size are those of one user.
        """
        batches, targets = self._of_users(members, generator)
        if targets is not None and self.responses is not None:
            labels = self.responses.shape[1] // len(self.targets)
            return sums(self.responses, (batches * labels + targets).view(len(members), -1))
        tokens = torch.cat([self._tokens(g) for g in self._delivered(batches, targets, generator)], dim=1)
        layers, _, k = tokens.shape
        return self.joint.rows(batches.shape[1] * tokens.view(layers, len(members), -1, k).sum(2))

    @property
    def random(self) -> bool:
        """See `Observation.random`."""
        return self._defense.stochastic

    def read(self, members: Tensor, generator: torch.Generator) -> Iterator[Matrices]:
        """See `Observation.read`."""
        if not any(layer.kept for layer in self.shown):
            return
        for piece in torch.split(members, at_once([layer.kept for layer in self.shown], 1)):
            batches, targets = self._of_users(piece, generator)
            whole = torch.cat(list(self._delivered(batches, targets, generator)))
            parts = self.batches.layout.parts(batches.shape[1] * whole.view(len(piece), -1, whole.shape[1]).sum(1))
            yield [self._matrices(layer, parts) for layer in self.shown]

    def _of_users(self, members: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The batches `(G * users, m)` of all users, and what a defense of labels puts in the place of theirs."""
        users = self.view.users if members.shape[1] == self.view.records else 1
        batches = members.cpu().reshape(-1, members.shape[1] // users)
        changed = self._defense.acts_on == "labels"
        return batches, self._defense.labels(self.targets[batches], generator) if changed else None

    @staticmethod
    def _matrices(layer: Shown, parts: Mapping[str, Tensor]) -> list[Tensor]:
        if layer.form is None:
            return []
        return as_kept(layer.form, list(layer.paths), layer.kept, {n: parts[path] for n, path in layer.paths.items()})

    def gradients(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """Mean gradients of batches `(G, m)` before the view's defense acts on them, `(G, d)`, float32.

        The number of trainable parameters is d.
        """
        return torch.cat(list(self.batches.read(members, None, generator)))

    def _delivered(self, batches: Tensor, targets: Tensor | None, generator: torch.Generator) -> Iterator[Tensor]:
        """What is seen of batches `(G, m)` in pieces `(g, d)`; of one that is not finite (local steps that diverged)
        nothing is, since a server rejects it: zeros."""
        for gradients in self.batches.read(batches, targets, generator):
            finite = gradients.isfinite().all(1, keepdim=True)
            yield self._defense.gradient(torch.where(finite, gradients, 0.0), generator)

    def diverged(self, batches: Tensor, generator: torch.Generator) -> float:
        """Share of batches `(G, m)` whose gradient or update is not finite."""
        finite = [g.isfinite().all(1) for g in self.batches.read(batches, None, generator)]
        return 1.0 - float(torch.cat(finite).double().mean())

    @property
    def _defense(self) -> DefenseSpec:
        return self.view.defense or UNDEFENDED

    def _tokens(self, gradients: Tensor) -> Tensor:
        """Tokens `(L, g, k)`, float64, of whole gradients `(g, d)`."""
        parts = self.batches.layout.parts(gradients)
        return torch.stack(
            [layer.sketch({name: parts[path] for name, path in layer.paths.items()}) for layer in self.shown]
        ).double()


def why_not_shown(view: View, model: nn.Module, classes: int | None) -> str:
    """Why a view cannot be replayed on a model; empty if it can.

    Args:
        view: the view.
        model: the audited model.
        classes: number of classes where targets are classes, else None.
    """
    if view.clip is not None or view.noise_std > 0.0:
        kind = "the steps of an update" if view.defense is None else "a defense of whole batches"
        return f"clipping and noise are for sums of records' gradients, and do not go together with {kind}"
    return (view.defense or UNDEFENDED).why_not(model, classes)


def _steps(view: View) -> int:
    return 1 if view.update is None else view.update.local_steps


def plain(view: View) -> bool:
    """Whether gradients are computed as if nobody defended them."""
    return _steps(view) == 1 and (view.defense or UNDEFENDED).acts_on == "gradient"


def batch_gradients(
    source: SketchedModel, inputs: Inputs, targets: Tensor, view: View, share: ReplayedObservation | None = None
) -> BatchGradients:
    """Gradients of batches of some records as a view's defense and update make them.

    Args:
        source: of the reader.
        inputs: records (N, ...).
        targets: (N, ...).
        view: the view.
        share: an observation of the same records at the same weights; the gradients that it has already are used where
            they are the same ones.
    """
    if share is not None and plain(view) and plain(share.view):
        return share.batches
    return BatchGradients(source, inputs, targets, defense=view.defense or UNDEFENDED, update=view.update)


def _responses(
    reader: TokenReader, batches: BatchGradients, view: View, layers: Sequence[str], joint: Joint
) -> Tensor | None:
    """Tokens of every record with every label, where that is all it takes and they fit."""
    defense, records = view.defense or UNDEFENDED, batches.records
    if defense.acts_on != "labels" or _steps(view) > 1:
        return None
    dim = reader.source.sketches[layers[0]].dim
    if 8 * dim * (len(layers) + 2) * len(records) * defense.answers > TABLE_BYTES:
        return None
    found = []
    for label in range(defense.answers):
        tokens = reader.read(records.inputs, torch.full_like(records.targets, label))
        if not tokens.complete:
            return None
        place = {layer.name: i for i, layer in enumerate(tokens.layers)}
        if not set(layers) <= place.keys():
            return None
        found.append(tokens.values[[place[name] for name in layers]].double())
    rows = joint.rows(torch.stack(found, dim=2).flatten(1, 2))  # of (L, N, classes, k)
    return rows.transpose(0, 1).contiguous().transpose(0, 1)  # so that sums need no copy
