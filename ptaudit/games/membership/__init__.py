"""Was a record trained on?"""
