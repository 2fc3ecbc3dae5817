"""Which hosts, in which order, and whether to go on: batches, gates, and what happens when one closes."""

from deployer.interrupt import Interrupt, heeding
from deployer.rollout.rollout import Answer, Work, roll_out

__all__ = ["Answer", "Interrupt", "Work", "heeding", "roll_out"]
