"""One table says what each metric is: all that games report are in it, and nothing else."""

from __future__ import annotations

import math

from ptaudit.spec.metrics import METRICS, metric
from ptaudit.spec.registry import GAMES


def test_every_metric_of_every_game_is_known_and_no_other():
    assert set(METRICS) == {name for game in GAMES.values() for name in game.metrics}


def test_ranges():
    assert metric("auc").most == metric("accuracy").most == metric("js_distance").most == 1.0
    assert metric("sensitivity").most == metric("bits").most == metric("epsilon_lo").most == math.inf
    assert metric("gain").least == -1.0
    assert metric("of a later release").most == math.inf


def test_bounds_noises_and_what_records_do_are_no_scores():
    by_game = {name for game in ("dynamics", "fisher-information") for name in GAMES[game].metrics}
    others = {name for name, kind in METRICS.items() if not kind.score} - by_game
    assert others == {"upper_bits", "epsilon_lo", "noise_half"}
    assert metric("exposed").score
    assert not metric("displacement").score
