"""Estimators of mutual information: one file each, from pairs to `Estimate` in bits; `registry` has their names."""
