"""What games are played with: the audited records, one epoch of the model, and what adversaries observe of it."""
