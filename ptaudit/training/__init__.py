"""A training run: model, loss, steps, checkpoints, its own or the user's. Knows nothing of games."""
