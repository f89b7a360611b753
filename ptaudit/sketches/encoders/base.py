"""Learned encoders: fitted epoch after epoch on gradients of their own part of the records, used on the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.errors import ModelError, PtauditError, listed
from ptaudit.gradients.projection import generator_for
from ptaudit.progress import Progress, Task
from ptaudit.sketches.encoders.autoencoder import Autoencoder
from ptaudit.sketches.encoders.network import Network
from ptaudit.sketches.encoders.scaling import Scaling
from ptaudit.sketches.encoders.transformer import Transformer

DrawSketches = Callable[[torch.Generator], Tensor]
"""A fresh minibatch of batch-gradient sketches `(L, B, dim)`, drawn with a CPU generator."""

ENCODERS: dict[str, type[Network]] = {"autoencoder": Autoencoder, "transformer": Transformer}

WIDTH = 32
"""Numbers in a token."""

STEPS = 400
"""Largest number of steps of one fit, where the caller names none."""

PAST = 8
"""Epochs of which the reservoir keeps some draws."""

_PAST_DRAWS = 128
_POOL = 2048
_CHECK = 512
_CHUNK = 1024
_CELLS = 1 << 23
_EVERY = 20
_NAMED = 5
_PATIENCE = 4
_GAIN = 0.01
_RATE = 1e-3
_SHARE = 8
"""One past draw comes with so many present ones."""


@dataclass(frozen=True)
class Fitted:
    """How well the tokens hold what they stand for; row 0 is all layers jointly, then each layer.

    Attributes:
        explained: share of the variance of held-out draws (of directions and log sizes, see `Scaling`) that is
            reconstructed from the token; NaN where nothing varies.
        linear: the same for as many principal components of the same draws.
        chance: share that as many numbers hold of a sketch without any structure.
        steps: steps of training.
        restarted: rows that began anew at the principal components, because the weights of the epoch before were worse.
    """

    explained: tuple[float, ...]
    linear: tuple[float, ...]
    chance: tuple[float, ...]
    steps: int
    restarted: int

    def warning(self, names: Sequence[str]) -> str:
        """What a user must know before trusting the tokens, empty if nothing.

        Args:
            names: of the rows, 1 + L.
        """
        flat = [name for name, share in zip(names, self.explained) if math.isnan(share)]
        poor = [
            f"{name} {share:.2f}"
            for name, share, chance in zip(names, self.explained, self.chance)
            if share < max(0.5, min(2.0 * chance, 0.9))
        ]
        said = []
        if poor:
            said.append(
                f"The learned encoder reconstructs little of the gradient of {listed(poor, _NAMED)} (share of the "
                "variance of held-out draws): what its tokens do not give away, the gradient itself may. Use "
                "`encoder: sketch`."
            )
        if flat:
            said.append(f"The gradient of {listed(flat, _NAMED)} does not vary: its learned token says nothing.")
        return " ".join(said)


class Encoder:
    """A learned encoder of L layers' sketches.

    Args:
        name: one of `ENCODERS`.
        layers: number of layers (L).
        dim: numbers of one sketch.
        seed: of all randomness.
        device: where to train and encode.

    Raises:
        ValueError: no encoder has that name.
    """

    def __init__(self, name: str, layers: int, dim: int, seed: int, device: torch.device | str = "cpu") -> None:
        if name not in ENCODERS:
            raise ValueError(f"no encoder {name!r}; there are {', '.join(ENCODERS)}")
        self.device = torch.device(device)
        self.layers = layers
        self.network = ENCODERS[name](layers, dim + 1, WIDTH).to(self.device)
        self._key = (seed, "encoder", name, layers, dim)
        self._fits = 0
        flat = torch.zeros(layers, device=self.device)
        self._scaling = Scaling(torch.zeros(layers, dim, device=self.device), flat, flat, flat, flat)
        self._past = torch.zeros(0, layers, 0, dim + 1, device=self.device)

    def fit(
        self, draw: DrawSketches, steps: int | None, progress: Progress, title: str, check: DrawSketches | None = None
    ) -> Fitted:
        """Trains on the draws of one epoch, from the present weights on, with some draws of past epochs mixed in.

        Args:
            draw: draws from the encoder's own part of the records.
            steps: largest number of steps; None for `STEPS`. Training ends when the held-out error no longer falls.
            progress: told of every step.
            title: of the progress bar.
            check: held-out draws, which end the training and are what `explained` is of. Give draws of records that
                `draw` never uses: without, they are other draws by `draw`, which at a batch size of 1 are the very
                records that were learned.

        Raises:
            ModelError: a sketch is not finite.
        """
        cap = STEPS if steps is None else steps
        pool, held = self._sketches(draw, _POOL, "pool"), self._sketches(check or draw, _CHECK, "check")
        self._scaling = Scaling.of(pool)
        # What ends the training and what is reported are different draws.
        x, unseen, last = self._scaling(pool), self._scaling(held[:, ::2]), self._scaling(held[:, 1::2])
        with progress.task(title, cap) as task:
            linear, restarted = self._start(x, unseen, last)
            taken = self._train(draw, cap, unseen, task)
        missed, varies = self._missed(last), _variance(last)
        self._remember(x)
        self._fits += 1
        size, width = x.shape[-1], self.network.tokens(x[:, :1]).shape[-1]
        chance = [min(1.0, width / (size * (len(x) if row == 0 else 1))) for row in range(len(x) + 1)]
        return Fitted(_shares(missed, varies), _shares(linear, varies), tuple(chance), taken, restarted)

    @torch.no_grad()
    def encode(self, sketches: Tensor) -> Tensor:
        """Tokens `(1 + L, G, width)` of sketches `(L, G, dim)`: all layers jointly, then each alone; float32.

        A column with a sketch that is not finite has NaN tokens. Row l + 1 depends on layer l's sketches alone.
        """
        if self._fits == 0:
            raise RuntimeError("call fit() or load() first")
        here = sketches.to(self.device)
        parts = (here[:, start : start + _CHUNK] for start in range(0, here.shape[1], _CHUNK))
        return torch.cat([self.network.tokens(self._scaling(part)) for part in parts], 1)

    def state(self) -> dict[str, Tensor]:
        """Everything the next `fit` and `encode` depend on, as contiguous tensors on the CPU."""
        found = {f"network.{name}": weight for name, weight in self.network.weights().items()}
        found |= {f"scaling.{name}": value for name, value in vars(self._scaling).items()}
        found |= {"past": self._past, "fits": torch.tensor(self._fits)}
        return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a state.

        Raises:
            PtauditError: it is not one of such an encoder.
        """
        for name, mine in self.state().items():
            if name not in state or (state[name].shape != mine.shape and not _as_past(name, state[name], mine)):
                raise PtauditError(
                    f"the saved encoder does not fit this audit: {name}", where="encoder", remedy="use --fresh"
                )
        here = {name: value.to(self.device) for name, value in state.items()}
        with torch.no_grad():
            for name, own in self.network.named_parameters():
                own.copy_(here[f"network.{name}"])
        self._scaling = Scaling(**{name: here[f"scaling.{name}"].clone() for name in vars(self._scaling)})
        self._past, self._fits = here["past"].clone(), int(state["fits"])

    def _generator(self, role: str) -> torch.Generator:
        return generator_for(*self._key, self._fits, role)

    def _sketches(self, draw: DrawSketches, columns: int, role: str) -> Tensor:
        """At least so many draws, `(L, N, dim)`; fewer where they would fill the memory."""
        generator = self._generator(role)
        parts = [self._one(draw, generator)]
        layers, batch, dim = parts[0].shape
        wanted = min(columns, max(columns // 4, _CELLS // (layers * dim)))
        parts += [self._one(draw, generator) for _ in range(math.ceil(wanted / batch) - 1)]
        return torch.cat(parts, 1)

    def _one(self, draw: DrawSketches, generator: torch.Generator) -> Tensor:
        found = draw(generator).to(self.device)
        if not bool(found.isfinite().all()):
            raise ModelError(
                "gradients are not finite, and nothing can be learned from them",
                where="audit.tokens.encoder",
                remedy="use `encoder: sketch`, or lower the learning rate",
            )
        return found

    @torch.no_grad()
    def _start(self, x: Tensor, unseen: Tensor, last: Tensor) -> tuple[Tensor, int]:
        """Begin at the better of the present weights and a linear encoder.

        Returns:
            Error of the linear one on the last draws, and the number of rows that it is taken for.
        """
        before = self.network.weights()
        old = self._missed(unseen)
        self.network.start(x, self._generator("start"))
        linear, reported = self._missed(unseen), self._missed(last)
        if self._fits == 0:
            return reported, 0
        worse = self._better(linear, old)
        self.network.put(before, ~worse)
        return reported, int(worse.sum())

    def _train(self, draw: DrawSketches, cap: int, unseen: Tensor, task: Task) -> int:
        """Steps until the held-out error stays; the best weights are kept."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=_RATE, fused=True)
        batches, masks = self._batches(draw), self._generator("masks")
        best, weights = self._missed(unseen), self.network.weights()
        mark, idle, step = best, 0, 0
        while step < cap and idle < _PATIENCE:
            for _ in range(min(_EVERY, cap - step)):
                optimizer.zero_grad(set_to_none=True)
                self.network.loss(next(batches), masks).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1
                task.advance()
            now = self._missed(unseen)
            better = self._better(now, best)
            self.network.keep(weights, better)
            best = torch.where(better, now, best)
            gained = _ratio(best, mark) < 1.0 - _GAIN
            mark, idle = (best, 0) if gained else (mark, idle + 1)
            task.advance(0, note=f"held-out error {float(best.mean()):.3f}")
        self.network.put(weights, torch.ones_like(best, dtype=torch.bool))
        return step

    def _better(self, now: Tensor, before: Tensor) -> Tensor:
        """Rows whose error `(1 + L,)` is smaller now: each by itself, or all by their mean ratio."""
        if self.network.separate:
            return now < before
        return torch.full_like(now, _ratio(now, before) < 1.0, dtype=torch.bool)

    @torch.no_grad()
    def _missed(self, x: Tensor) -> Tensor:
        return self.network.missed(x)

    def _batches(self, draw: DrawSketches) -> Iterator[Tensor]:
        """Scaled minibatches, with draws of past epochs among them."""
        generator, others = self._generator("batches"), self._generator("past")
        while True:
            x = self._scaling(self._one(draw, generator))
            if len(self._past):
                epoch = int(torch.randint(len(self._past), (), generator=others))
                some = torch.randint(self._past.shape[2], (max(1, x.shape[1] // _SHARE),), generator=others)
                x = torch.cat([x, self._past[epoch][:, some.to(self.device)]], 1)
            yield x

    def _remember(self, x: Tensor) -> None:
        """Every past epoch is as likely as another to be in the reservoir (Vitter 1985, algorithm R)."""
        kept = x[:, :_PAST_DRAWS][None]
        if len(self._past) == 0 or len(self._past) < PAST:
            self._past = kept.clone() if len(self._past) == 0 else torch.cat([self._past, kept])
            return
        slot = int(torch.randint(self._fits + 1, (), generator=self._generator("reservoir")))
        if slot < PAST:
            self._past[slot] = kept[0]


def _variance(x: Tensor) -> Tensor:
    """Variance per coordinate of each row, `(1 + L,)`."""
    single = x.var(1, correction=0).mean(-1)
    return torch.cat([single.mean(0, keepdim=True), single])


def _as_past(name: str, found: Tensor, mine: Tensor) -> bool:
    """Whether it is a reservoir of any number of draws for the same layers."""
    return name == "past" and found.dim() == 4 and found.shape[1::2] == mine.shape[1::2]


def _ratio(now: Tensor, before: Tensor) -> float:
    """Geometric mean of the ratios of errors, so that a layer that is easy counts as much as one that is not."""
    tiny = 1e-6
    return float(((now + tiny) / (before + tiny)).log().mean().exp())


def _shares(missed: Tensor, variance: Tensor) -> tuple[float, ...]:
    found = torch.where(variance > 0, 1.0 - missed / variance, math.nan)
    return tuple(found.tolist())
