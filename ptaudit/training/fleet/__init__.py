"""Reference models: many trainings of the spec, each on a random half of a pool, and what they say of every record."""
