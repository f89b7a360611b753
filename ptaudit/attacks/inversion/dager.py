"""Sequences of tokens, exactly, from the row space of a gradient (DAGER: Petrov et al., arXiv 2405.15586).

The gradient of a layer that is given a vector at each position is a sum of outer products with these vectors, which
therefore lie in its row space. While the records of a batch have fewer tokens than the vectors have directions, a
vector of another token lies outside. In the first layer, whose vectors depend on the token of their own position alone,
every token is tried at every position. Of one record that is all. Of several each position has a set of tokens (where
embeddings are added, also some that stand elsewhere: a sum of other sums is in the span as well), and
vectors of the next layer, which depend on the whole text, say which of them belong together: where they depend on what
stands before alone, by prolonging texts token by token; else by trying all combinations, or where these are too many
by exchanging one token at a time, from several starts, until all vectors lie in the row space. A text counts only if it
is proved so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.bag_of_words import in_use, likely_labels, rows_of
from ptaudit.attacks.inversion.linear_layers import typical
from ptaudit.attacks.inversion.matching import Clock
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.text_layers import TokenLayer, token_layers
from ptaudit.attacks.inversion.text_search import INSIDE, UNKNOWN, TokenSets, exchanged, prolonged
from ptaudit.model_input import Inputs, mapped
from ptaudit.progress import Progress

_LOST = 1e-7
"""Singular values below this share of the largest are those of rounding."""

_SAME = 1e-5
"""The same of inputs as they are computed."""

_AT_ONCE = 512
"""Texts of one piece."""


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why row spaces tell nothing."""
    layers = _layers(seen, granted)
    if not layers:
        return "no linear layer or attention that is given single tokens is shared"
    if seen.noise_std != 0.0:
        return "noise has every direction, so that every token lies in the row space of the gradient"
    if seen.batch_size > 1 and len(layers) == 1:
        return "of several records it needs a second layer that is shared, which says what belongs together"
    if seen.rounds > 1 and seen.batch_size > 1 and not seen.fixed_batch:
        return "of several records it rebuilds where all rounds show the same ones"
    return ""


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    rows, m = rows_of(seen, granted), seen.batch_size
    layers = _layers(seen, granted)[: min(m, 2)]
    used = torch.ones(len(seen), granted.space.vocabulary or 0) if rows is None else in_use(rows, 0.0)
    room = [_directions(granted, layer) for layer in layers]
    texts = torch.full((len(seen), m, *granted.space.shape), UNKNOWN, device=granted.device)
    with Clock(budget, progress, "rebuilding by dager", len(seen)) as clock:
        for target in range(len(seen)):
            if not clock.goes_on():
                break
            spans = [_span(seen, target, layer) for layer in layers]
            if all(len(span) < most for span, most in zip(spans, room)):
                tried = _Tried(granted, layers, spans, torch.nonzero(used[target]).flatten().to(granted.device))
                found = [tried.alone()] if m == 1 else tried.together(m, budget.restarts, generator, clock)
                for place, text in enumerate(found):
                    texts[target, place, : len(text)] = text
            clock.step()
    known = texts != UNKNOWN
    unsolved = ~known.any(2).cpu()
    why = (
        f"row spaces prove no text: what {' and '.join(layer.path for layer in layers)} are given has "
        f"{' and '.join(map(str, room))} directions, which as many tokens of a batch fill"
    )
    return Reconstruction(
        _as_inputs(texts, known, granted),
        likely_labels(seen, granted),
        unsolved.double().mean(1),
        0,
        clock.seconds,
        clock.ran_out,
        unsolved,
        why,
    )


def _layers(seen: SharedGradients, granted: Granted) -> list[TokenLayer]:
    """The first layer that is given single tokens, and the first one that is given more of the text."""
    layers = token_layers(granted, seen.gradients.keys())
    own, more = ([one for one in layers if (one.reads == "own") == alone] for alone in (True, False))
    return own[:1] + more[:1] if own else []


def _as_inputs(texts: Tensor, known: Tensor, granted: Granted) -> Inputs:
    """Texts `(B, R, P)` as a model is given them: what is unknown of one is no token, a guess where all of it is."""
    nothing = ~known.any(2, keepdim=True)
    ids = torch.where(known, texts, granted.guess.to(texts))
    inputs = granted.space.inputs(ids.flatten(0, 1), (known | nothing).flatten(0, 1))
    return mapped(lambda leaf: leaf.view(*texts.shape[:2], *leaf.shape[1:]), inputs)


def _directions(granted: Granted, layer: TokenLayer) -> int:
    """How many directions a layer's inputs have, over texts of random tokens."""
    (length,) = granted.space.shape
    width = layer.given(granted, granted.space.inputs(typical(granted.space, 1, granted.device))).shape[2]
    some = typical(granted.space, 4 * width // length + 1, granted.device)
    vectors = layer.given(granted, granted.space.inputs(some)).flatten(0, 1)
    return int(torch.linalg.matrix_rank(vectors, rtol=_SAME))


def _span(seen: SharedGradients, target: int, layer: TokenLayer) -> Tensor:
    """The row space of what is seen of a layer, an orthonormal basis `(k, E)` float64."""
    rows = torch.cat([seen.gradients[path][target].double().flatten(0, 1) for path in layer.weights])
    _, values, right = torch.linalg.svd(rows, full_matrices=False)
    kept: Tensor = right[values > _LOST * values[0]]
    return kept


@dataclass(frozen=True)
class _Tried:
    """Tokens and texts that are tried for one target.

    Attributes:
        granted: what is known.
        layers: the first layer, and the next one.
        spans: the row spaces of their gradients.
        tokens: which tokens may occur, `(k,)`.
    """

    granted: Granted
    layers: list[TokenLayer]
    spans: list[Tensor]
    tokens: Tensor

    def alone(self) -> Tensor:
        """The text of a batch of one, `(P,)`."""
        far = self._of_tokens()
        near, token = far.min(0)
        return torch.where(near < INSIDE, self.tokens[token], UNKNOWN)

    def together(self, m: int, starts: int, generator: torch.Generator, clock: Clock) -> list[Tensor]:
        """At most m texts `(P,)` that are proved."""
        near = self._of_tokens() < INSIDE
        options = [self.tokens[one] for one in near.T]
        length = next((place for place, one in enumerate(options) if not len(one)), len(options))
        sets = TokenSets(options[:length], self._of_texts, ends=self.granted.space.masked)
        if self.layers[1].reads == "before":
            return prolonged(sets, m, clock)
        return exchanged(sets, m, starts, generator, clock)

    def _of_tokens(self) -> Tensor:
        """Distance of each token from the row space of the first layer at each position, `(k, P)`."""
        (length,) = self.granted.space.shape
        return self._distances(0, self.tokens[:, None].expand(-1, length))

    def _of_texts(self, texts: Tensor) -> Tensor:
        """Distance of each position of texts `(n, L)` from the row space of the next layer; 0 after a text's end."""
        (length,) = self.granted.space.shape
        whole = torch.nn.functional.pad(texts, (0, length - texts.shape[1]), value=UNKNOWN)
        far = self._distances(1, whole)[:, : texts.shape[1]]
        return torch.where(texts == UNKNOWN, 0.0, far)

    def _distances(self, which: int, texts: Tensor) -> Tensor:
        found = []
        for some in torch.split(texts, _AT_ONCE):
            inputs = self.granted.space.inputs(some.clamp_min(0), some != UNKNOWN)
            vectors = self.layers[which].given(self.granted, inputs)
            outside = vectors - vectors @ self.spans[which].T @ self.spans[which]
            found.append(outside.norm(dim=2) / vectors.norm(dim=2).clamp_min(torch.finfo(vectors.dtype).tiny))
        return torch.cat(found)
