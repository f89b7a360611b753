"""The leakage table, what is derived from it, and the run folder."""
