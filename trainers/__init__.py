"""The methods, one file each; importing this package registers them."""

from trainers import biomeddpt, coop, zeroshot

__all__ = ["biomeddpt", "coop", "zeroshot"]
