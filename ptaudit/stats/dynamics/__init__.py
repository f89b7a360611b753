"""How records become exposed while a model trains: statistics of a fleet that was scored at several epochs.

Everything starts from a `plane.FleetTrajectory`: scores of n records in N models at E epochs, and who was trained on
what. The idea of following each record on the plane of false-positive and true-positive rates, and the names of what is
read off it, are those of Chen et al. (arXiv 2507.23291); definitions, intervals and what chance gives are stated where
they are made.
"""
