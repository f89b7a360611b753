"""Attacks on observed batches: one way to score what a batch may hold a file, and how scores become a posterior."""
