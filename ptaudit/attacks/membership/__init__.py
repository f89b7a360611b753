"""Membership inference attacks: pure functions of a target's signals and of reference models, one file each.

An attack takes `Signals` of the audited model and, where it needs them, `References`: the signals of N other models and
which records each was trained on. It returns a score for each record, `(n,)`, higher = more likely a member. No torch,
no files. `registry.ATTACKS` lists them with what each needs.
"""
