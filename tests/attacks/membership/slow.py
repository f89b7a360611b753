"""Every membership attack once more: record by record and model by model, obviously right, slow.

Each is a function of a target's signals, of reference signals `(N, n)` and of the masks inside and outside.
"""

import math
import statistics

import numpy as np
from scipy import special, stats
from scipy.optimize import brentq
from sklearn.ensemble import HistGradientBoostingClassifier


def loss(target, known, inside, outside):
    return [-value for value in target.losses]


def modified_entropy(target, known, inside, outside):
    return [-value for value in target.modified_entropy]


def privacy_risk(target, known, inside, outside):
    found = []
    for record, label in enumerate(target.labels):
        values = {True: [], False: []}
        for other in range(len(target.labels)):
            if target.labels[other] == label:
                for side, mask in ((True, inside), (False, outside)):
                    values[side] += [math.log(v) for v in picked(known.modified_entropy, mask, other)]
        low, high = min(values[True] + values[False]), max(values[True] + values[False])

        def bin_of(value, low=low, high=high):
            return min(max(math.floor((value - low) / (high - low) * 5), 0), 4)

        own = bin_of(math.log(target.modified_entropy[record]))
        rates = [(sum(bin_of(v) == own for v in some) + 1) / (len(some) + 5) for some in (values[True], values[False])]
        found.append(rates[0] / sum(rates))
    return found


def calibrated_loss(target, known, inside, outside):
    return [
        statistics.fmean(picked(known.losses, outside, record)) - own for record, own in enumerate(target.losses)
    ]  # fmt: skip


def attack_r(target, known, inside, outside):
    found = []
    for record, own in enumerate(target.losses):
        others = picked(known.losses, outside, record)
        found.append(sum(1.0 if v > own else 0.5 if v == own else 0.0 for v in others) / len(others))
    return found


def lira_online(target, known, inside, outside):
    found = []
    for record, own in enumerate(target.confidence):
        one, zero = (picked(known.confidence, mask, record) for mask in (inside, outside))
        found.append(gaussian(own, one, statistics.stdev(one)) - gaussian(own, zero, statistics.stdev(zero)))
    return found


def lira_online_global(target, known, inside, outside):
    spreads = [pooled(known.confidence, mask) for mask in (inside, outside)]
    found = []
    for record, own in enumerate(target.confidence):
        one, zero = (picked(known.confidence, mask, record) for mask in (inside, outside))
        found.append(gaussian(own, one, spreads[0]) - gaussian(own, zero, spreads[1]))
    return found


def lira_offline(target, known, inside, outside):
    found = []
    for record, own in enumerate(target.confidence):
        zero = picked(known.confidence, outside, record)
        null = stats.norm(statistics.fmean(zero), statistics.stdev(zero))  # whose smaller tail is the one that is exact
        above = own > null.mean()
        found.append(-special.ndtri_exp(null.logsf(own)) if above else special.ndtri_exp(null.logcdf(own)))
    return found


def lira_offline_global(target, known, inside, outside):
    spread = pooled(known.confidence, outside)
    found = []
    for record, own in enumerate(target.confidence):
        found.append((own - statistics.fmean(picked(known.confidence, outside, record))) / spread)
    return found


def rmia_online(target, known, inside, outside):
    def p(record):
        one, zero = (statistics.fmean(math.exp(-v) for v in picked(known.losses, m, record)) for m in (inside, outside))
        return (one + zero) / 2

    return dominance(target, p)


def rmia_offline(target, known, inside, outside):
    def p(record, mask):
        return statistics.fmean(math.exp(-v) for v in picked(known.losses, mask, record))

    doubts = [(1 - p(record, inside), 1 - p(record, outside)) for record in range(len(target.losses))]
    slope = np.linalg.lstsq([[zero] for _, zero in doubts], [one for one, _ in doubts])[0][0]
    a = min(max(slope, 0), 1)
    return dominance(target, lambda record: ((1 + a) * p(record, outside) + 1 - a) / 2)


def dominance(target, p):
    """Shares of records that are beaten by a factor of 2, ties in the order of the ratios."""
    ratio = [math.exp(-own) / p(record) for record, own in enumerate(target.losses)]
    n = len(ratio)
    beaten = [sum(x / z >= 2.0 for z in ratio) for x in ratio]
    place = [sum(z < x for z in ratio) + (sum(z == x for z in ratio) + 1) / 2 for x in ratio]
    return [(count + rank / (n + 1)) / (n + 1) for count, rank in zip(beaten, place)]


def bavaria_online(target, known, inside, outside):
    zeros = [picked(known.confidence, outside, record) for record in range(len(target.confidence))]
    ones = [picked(known.confidence, inside, record) for record in range(len(target.confidence))]
    line = stats.linregress([statistics.fmean(some) for some in zeros], [statistics.fmean(some) for some in ones])
    expected = [line.intercept + line.slope * statistics.fmean(some) for some in zeros]
    one, zero = predictive(ones, expected), predictive(zeros, grand(zeros))
    return [t.logpdf(own) - u.logpdf(own) for own, t, u in zip(target.confidence, one, zero)]


def bavaria_offline(target, known, inside, outside):
    zeros = [picked(known.confidence, outside, record) for record in range(len(target.confidence))]
    found = []
    for own, density in zip(target.confidence, predictive(zeros, grand(zeros))):
        dof, mean, scale = density.args
        t = (own - mean) / scale
        size = (8 * dof + 1) / (8 * dof + 3) * math.sqrt(dof * math.log(1 + t**2 / dof))
        found.append(math.copysign(size, t))
    return found


def predictive(sides, expected):
    """Student-t densities of one more model of each record."""
    k = [len(some) for some in sides]
    logs = [
        math.log(statistics.variance(some)) - special.digamma((len(some) - 1) / 2) + math.log((len(some) - 1) / 2)
        for some in sides
    ]
    beyond = statistics.pvariance(logs) - statistics.fmean(special.polygamma(1, (size - 1) / 2) for size in k)
    if beyond <= special.polygamma(1, 5e5):
        nu = 1e6
    else:
        nu = 2 * brentq(lambda half: special.polygamma(1, half) - beyond, 5e-4, 5e5, xtol=1e-12)
    s = math.exp(statistics.fmean(logs) + special.digamma(nu / 2) - math.log(nu / 2))
    squares = [sum((v - statistics.fmean(some)) ** 2 for v in some) for some in sides]
    shrunk = [(nu * s + own) / (nu + size - 1) for own, size in zip(squares, k)]
    apart = [(statistics.fmean(some) - centre) ** 2 for some, centre in zip(sides, expected)]
    of_means = statistics.fmean(a / v - 1 / size for a, v, size in zip(apart, shrunk, k))
    kappa = min(max(1 / max(of_means, 1e-6), 1e-3), 1e6)
    found = []
    for some, centre, own, far in zip(sides, expected, squares, apart):
        size = len(some)
        total = nu * s + own + kappa * size / (kappa + size) * far
        mean = (kappa * centre + sum(some)) / (kappa + size)
        scale = math.sqrt(total / (nu + size) * (1 + 1 / (kappa + size)))
        found.append(stats.t(nu + size, mean, scale))
    return found


def grand(sides):
    return [statistics.fmean(statistics.fmean(some) for some in sides)] * len(sides)


def shadow_classifier(target, known, inside, outside):
    examples, member = [], []
    for model in range(len(inside)):
        without = [left_out(mask, model, partner_of(inside, outside, model)) for mask in (inside, outside)]
        facts = shadow_features(known.model(model), known, *without)
        for record in range(len(facts)):
            if inside[model, record] or outside[model, record]:
                examples.append(facts[record])
                member.append(bool(inside[model, record]))
    trees = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.06, min_samples_leaf=200, l2_regularization=1, early_stopping=False
    )
    trees.fit(examples, member)
    return trees.decision_function(shadow_features(target, known, inside, outside))


def shadow_features(target, known, inside, outside):
    attacks = [attack(target, known, inside, outside) for attack in (bavaria_online, lira_online_global, rmia_online)]
    found = []
    for record, own in enumerate(target.confidence):
        facts = [own]
        for mask in (inside, outside):
            some = picked(known.confidence, mask, record)
            mean, spread = statistics.fmean(some), statistics.stdev(some)
            facts += [mean, spread, own - mean, (own - mean) / spread]
        found.append([*facts, *(scores[record] for scores in attacks)])
    return found


def partner_of(inside, outside, model):
    """For each record the model of the other side that has the same place there, counted round."""
    found = []
    for record in range(inside.shape[1]):
        sides = [[m for m in range(len(inside)) if mask[m, record]] for mask in (inside, outside)]
        own = next((i for i, side in enumerate(sides) if model in side), None)
        other = [] if own is None else sides[1 - own]
        found.append(other[sides[own].index(model) % len(other)] if other else None)
    return found


def left_out(mask, model, partner):
    """A mask without a model, and for each record without its partner."""
    left = mask.copy()
    left[model] = False
    for record, other in enumerate(partner):
        if other is not None:
            left[other, record] = False
    return left


def loss_trace(target, known, inside, outside):
    return [np.subtract(*np.percentile(target.loss_trace[:, record], [75, 25])) for record in range(target.records)]


def quantile_regression(target, known, inside, outside):
    """With so few records that trees have one leaf: each fold's mean, or a ridge regression."""
    own = sorted(np.flatnonzero(target.known_outside), key=lambda record: target.confidence[record])
    x = target.features[own]
    mean, apart = best_line(x, target.confidence[own], target.features)
    squares = [(value - guess) ** 2 for value, guess in zip(target.confidence[own], apart)]
    squares = [max(square, 1e-3 * statistics.mean(squares)) for square in squares]
    logs, apart = best_line(x, np.log(squares), target.features)
    unit = statistics.mean(square / math.exp(guess) for square, guess in zip(squares, apart))
    return [
        (value - m) / math.sqrt(unit * math.exp(log))
        for value, m, log in zip(target.confidence, mean, logs, strict=True)
    ]


def best_line(x, y, asked):
    apart = {"mean": np.zeros(len(y)), "ridge": np.zeros(len(y))}
    for fold in range(5):
        out = np.arange(len(y)) % 5 == fold
        apart["mean"][out] = y[~out].mean()
        apart["ridge"][out] = ridge(x[~out], y[~out], x[out])
    errors = {name: ((y - guess) ** 2).mean() for name, guess in apart.items()}
    if errors["mean"] <= errors["ridge"]:
        return np.full(len(asked), y.mean()), apart["mean"]
    return ridge(x, y, asked), apart["ridge"]


def ridge(x, y, asked):
    """The penalty is that of the least squared error of records left out one by one, of standardised features."""
    centre, scale = x.mean(0), x.std(0)
    z, z_asked = (x - centre) / scale, (asked - centre) / scale

    def fitted(z, y, penalty, at):
        middle = z.mean(0)
        squares = (z - middle).T @ (z - middle) + penalty * np.eye(z.shape[1])
        return y.mean() + (at - middle) @ np.linalg.solve(squares, (z - middle).T @ (y - y.mean()))

    def error(penalty):
        rest = [np.arange(len(y)) != i for i in range(len(y))]
        return sum((y[i] - fitted(z[keep], y[keep], penalty, z[i])) ** 2 for i, keep in enumerate(rest))

    return fitted(z, y, min([0.1, 1.0, 10.0, 1e2, 1e3, 1e4, 1e5], key=error), z_asked)


def adversarial_distance(target, known, inside, outside):
    return list(target.boundary_distances)


def gradient_norm(target, known, inside, outside):
    return [-math.log(value) for value in target.gradient_norms]


def update_product(target, known, inside, outside):
    return [-product / norm for product, norm in zip(target.update_products, target.gradient_norms)]


def picked(values, mask, record):
    """Values of a record in the models of a mask."""
    return [float(values[model, record]) for model in range(len(values)) if mask[model, record]]


def pooled(values, mask):
    squares, dof = 0.0, 0
    for record in range(values.shape[1]):
        some = picked(values, mask, record)
        squares += sum((v - statistics.fmean(some)) ** 2 for v in some)
        dof += len(some) - 1
    return math.sqrt(squares / dof)


def gaussian(value, some, spread):
    return stats.norm.logpdf(value, statistics.fmean(some), spread)
