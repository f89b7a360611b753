"""Leakage games: one file for each secret."""
