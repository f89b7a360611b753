"""What the adversary sees: aggregation over a batch, rounds, noise."""

from ptaudit.views.aggregate import Games, draw_games, draw_others, observe, sums
from ptaudit.views.view import View

__all__ = ["Games", "View", "draw_games", "draw_others", "observe", "sums"]
