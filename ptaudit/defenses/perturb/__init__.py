"""Adversarial perturbation: the gradient is moved so that a probe of the defender's guesses the secret wrong."""
