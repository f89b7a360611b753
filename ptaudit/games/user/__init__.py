"""Whose records is the batch made of?"""
