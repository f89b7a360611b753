"""Gradients of records and of batches, in the one room that takes them.

What is differentiated is `record_losses`. `gradient_check` finds out on a few records how each layer of a model is to
be read; `per_example_pass` reads those that have a rule (`rules/`, one file for a family of layers), `fallback` the
others. `whole_gradients` gives them unprojected, `opacus_rules` for DP-SGD; `sensitivity` differentiates them once
more. Every way is held against `autograd` by the measure of `agreement`. `matrices` keep records' gradients so that
those of whole batches are summed exactly as training sums them.
"""

from ptaudit.gradients.matrices import Dense, Factors, RecordGradients, UsedRows

__all__ = ["Dense", "Factors", "RecordGradients", "UsedRows"]
