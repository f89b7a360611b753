"""What is the sensitive value of one record of the batch?"""
