"""How much do the data of a record and the gradient of its batch have in common?"""
