"""Gradients of records as matrices, from which those of whole batches are summed exactly as training sums them."""

from ptaudit.gradients.matrices import Dense, Factors, RecordGradients, UsedRows

__all__ = ["Dense", "Factors", "RecordGradients", "UsedRows"]
