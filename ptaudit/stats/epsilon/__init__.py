"""Lower bounds on epsilon, with confidence, from the games of an audit; and the epsilon a mechanism really has.

What decides a game (`Threshold`, `Guesses`) is a type that is made from other games, or before any: a bound takes it
together with the games that are reported, so it cannot be chosen on them.

Every epsilon names its adjacency. A membership audit is add/remove (the sum changes by C at most); an attribute audit
is replace-one (2C), and is held against the replace-one epsilon.
"""

from ptaudit.stats.epsilon.bound import CONFIDENCE, Adjacency, EpsilonBound
from ptaudit.stats.epsilon.error_rates import clopper_pearson, gaussian_dp
from ptaudit.stats.epsilon.mechanism import (
    SENSITIVITY,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    replace_one_epsilon,
)
from ptaudit.stats.epsilon.one_run import one_run, p_value
from ptaudit.stats.epsilon.one_run_gaussian import one_run_gaussian
from ptaudit.stats.epsilon.rates import Guesses, count_correct
from ptaudit.stats.epsilon.threshold import Threshold, choose_threshold

__all__ = [
    "CONFIDENCE",
    "SENSITIVITY",
    "Adjacency",
    "EpsilonBound",
    "Guesses",
    "Threshold",
    "choose_threshold",
    "clopper_pearson",
    "count_correct",
    "gaussian_delta",
    "gaussian_dp",
    "gaussian_epsilon",
    "gaussian_mu",
    "one_run",
    "one_run_gaussian",
    "p_value",
    "replace_one_epsilon",
]
