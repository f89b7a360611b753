"""Which layer does a secret move?"""
