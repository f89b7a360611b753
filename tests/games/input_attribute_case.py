"""Games of the attribute as an input, on planted tokens."""

import torch
from identity_truth import gaussian

from ptaudit.games.attribute import known_rest as input_attribute
from ptaudit.games.attribute.known_rest import Counterfactuals
from ptaudit.games.common.observed_view import ObservedView
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

N = 2000


def coins(n=N, seed=0):
    return torch.randint(2, (n,), generator=torch.Generator().manual_seed(500 + seed))


def moved(tokens, distance, seed=1):
    """Two tokens for each record, `distance` apart in a direction of its own."""
    step = gaussian(*tokens.shape, seed)
    step *= distance / 2 / torch.linalg.vector_norm(step, dim=1, keepdim=True)
    return torch.stack([tokens - step, tokens + step])[:, None]


def own(candidates, secret):
    """The tokens of the records as they are, `(R, N, k)`."""
    return candidates[secret, :, torch.arange(len(secret))].transpose(0, 1)


def measured(candidates, secret, m=1, noise=0.0, rounds=1, prior=None, fixed=False, known=None, plain=None, now=None):
    view = View("v", m, rounds, noise_std=noise, fixed_batch=fixed)
    now = now or TokenObservation(own(candidates, secret), noise)
    prior = torch.full((len(secret), len(candidates)), 1 / len(candidates)) if prior is None else prior
    late = known is not None and known.observation is not now
    known = known or Counterfactuals(now, candidates, noise_std=noise)
    seen = ObservedView(view, now, known.observation, plain and plain.observation, [[0]], late=late)
    return input_attribute.measure(secret, prior, seen, known, plain)


def bits(*args, **options):
    return measured(*args, **options)["likelihood-ratio"]["bits"][0]
