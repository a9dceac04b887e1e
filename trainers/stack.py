"""Training several runs in one step."""

from trainers.lockstep import train_together as train_stack

__all__ = ["train_stack"]
