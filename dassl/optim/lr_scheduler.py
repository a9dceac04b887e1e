"""Learning-rate schedules, stepped once per epoch.

The rates are pure functions of the epoch, so that a resumed run has the same rates as an uninterrupted run.
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from yacs.config import CfgNode

from dassl.errors import unknown_name

SCHEDULES = ("cosine", "single_step", "multi_step")
WARMUPS = ("constant", "linear")


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LambdaLR:
    """Build a schedule with warm-up.

    In the first WARMUP_EPOCH epochs the rate is WARMUP_CONS_LR ("constant"), or it rises linearly from WARMUP_MIN_LR
    ("linear"). Then the main schedule starts from its first epoch if WARMUP_RECOUNT is set, and otherwise continues
    from epoch WARMUP_EPOCH. The cosine schedule falls from OPTIM.LR to 0 in MAX_EPOCH epochs.

    Raises:
        InputError: the name of the schedule or of the warm-up is unknown.
    """
    warmup = max(optim_cfg.WARMUP_EPOCH, 0)
    main = _main_schedule(optim_cfg)
    warm = _warmup(optim_cfg) if warmup else None
    skipped = warmup if optim_cfg.WARMUP_RECOUNT else 0

    def factor_for(base_lr: float) -> Callable[[int], float]:
        return lambda epoch: warm(epoch, base_lr) if epoch < warmup else main(epoch - skipped)

    return LambdaLR(optimizer, [factor_for(group["lr"]) for group in optimizer.param_groups])


def _main_schedule(cfg: CfgNode) -> Callable[[int], float]:
    stepsize = list(cfg.STEPSIZE) if isinstance(cfg.STEPSIZE, (list, tuple)) else [cfg.STEPSIZE]
    if cfg.LR_SCHEDULER == "cosine":
        return lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / cfg.MAX_EPOCH))
    if cfg.LR_SCHEDULER == "single_step":
        step = stepsize[-1] if stepsize[-1] > 0 else cfg.MAX_EPOCH
        return lambda epoch: cfg.GAMMA ** (epoch // step)
    if cfg.LR_SCHEDULER == "multi_step":
        return lambda epoch: cfg.GAMMA ** sum(epoch >= step for step in stepsize)
    raise unknown_name("schedule (OPTIM.LR_SCHEDULER)", cfg.LR_SCHEDULER, SCHEDULES)


def _warmup(cfg: CfgNode) -> Callable[[int, float], float]:
    if cfg.WARMUP_TYPE == "constant":
        return lambda epoch, base_lr: cfg.WARMUP_CONS_LR / base_lr
    if cfg.WARMUP_TYPE == "linear":
        return lambda epoch, base_lr: cfg.WARMUP_MIN_LR / base_lr if epoch == 0 else epoch / cfg.WARMUP_EPOCH
    raise unknown_name("warm-up (OPTIM.WARMUP_TYPE)", cfg.WARMUP_TYPE, WARMUPS)
