"""A variational information bottleneck before the last linear layer (Alemi et al. 2017)."""
