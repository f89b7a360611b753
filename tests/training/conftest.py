from training_case import blobs, fixed_weights, replay, small_net

__all__ = ["blobs", "fixed_weights", "replay", "small_net"]
