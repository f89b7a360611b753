"""When, during training, does which record become exposed, and can it be foretold?"""
