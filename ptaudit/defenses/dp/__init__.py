"""Differential privacy: the gradient of each record is clipped, and Gaussian noise is added to their sum."""
