"""Learned encoders of gradient sketches, the second kind of privacy token (arXiv 2502.02913)."""
