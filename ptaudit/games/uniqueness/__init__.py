"""How much does a record's gradient stand out from those of all others?"""
