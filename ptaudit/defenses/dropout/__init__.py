"""Dropout before the last linear layer (Srivastava et al. 2014)."""
