"""Intervals, nulls, simultaneous bounds and ROC curves: pure functions of arrays, without torch.

Wherever a function returns or takes `draws`, they are bootstrap replicates: replicate b of all numbers of one run
belongs to the same resample of the records, so that numbers can be compared and joined replicate by replicate.
"""
