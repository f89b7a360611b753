"""With which share of records with a property was the batch drawn?"""
