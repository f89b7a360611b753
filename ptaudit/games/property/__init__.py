"""Does the batch hold a record with the property?"""
