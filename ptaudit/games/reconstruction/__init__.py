"""Which records can be rebuilt from the gradient of their batch by searching for them?"""
