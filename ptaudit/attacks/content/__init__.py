"""Rebuilding a record from a gradient by learned decoders: what the gradient of a batch tells of one record's content.

The original information of Mo et al. (arXiv 2105.13929): features of what a layer shows (`features`), a family of
decoders from them to the record (`linear`, `mlp`, `conv`), fitted, chosen and reported on different records
(`crossfit`), and the bits of a predictive distribution around what was rebuilt (`predictive`).
"""
