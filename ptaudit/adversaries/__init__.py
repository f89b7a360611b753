"""Posterior families: who guesses the secret from the view."""
