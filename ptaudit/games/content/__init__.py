"""How much of a record's content can a family of decoders rebuild from the gradient of its batch?"""
