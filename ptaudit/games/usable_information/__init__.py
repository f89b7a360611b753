"""How much of a record's secret can a family of predictors read from the gradient of its batch?"""
