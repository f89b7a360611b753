"""Which record was in the batch?"""
