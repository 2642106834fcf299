"""The evaluations of ``finebound evaluate``, one file each; ``registry`` finds them."""
