"""What do the records that were made to be found give away?"""
