"""Gradient inversion: records rebuilt from the gradient that was shared of their batch, one attack a file.

An attack takes what the adversary sees (`SharedGradients`) and what its threat model grants (`Granted`), never a data
set, and says what the records were (`Reconstruction`). A file has `rebuild`, and where it does not always apply
`why_not`; `registry.ATTACKS` lists them.
"""
