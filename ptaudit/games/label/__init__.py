"""Of which class is a record of the batch?"""
