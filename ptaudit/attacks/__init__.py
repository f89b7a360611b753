"""Attacks on observed batches: each file one way to score what a batch may hold, and how scores become one posterior."""
