"""What can noise of known size let an adversary know of a record, whoever it is?"""
