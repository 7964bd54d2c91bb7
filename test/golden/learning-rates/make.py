"""Learning rates of PyTorch's schedulers, and of Hugging Face's linear and cosine ones, as expected.json."""

import json
import math

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, StepLR


def rates(base, steps, make):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def hugging_face(kind, warm_up, total):
    """transformers/optimization.py, _get_{linear,cosine}_schedule_with_warmup_lr_lambda"""

    def factor(step):
        if step < warm_up:
            return step / max(1, warm_up)
        if kind == "linear":
            return max(0.0, (total - step) / max(1, total - warm_up))
        progress = (step - warm_up) / max(1, total - warm_up)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * progress)))

    return lambda optimizer: LambdaLR(optimizer, factor)


expected = {
    "linear": rates(0.5, 14, lambda o: LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=10)),
    "linear after a warm-up": rates(0.3, 13, hugging_face("linear", 4, 12)),
    "cosine": rates(0.2, 11, lambda o: CosineAnnealingLR(o, T_max=10, eta_min=0.01)),
    "cosine after a warm-up": rates(0.3, 13, hugging_face("cosine", 4, 12)),
    "stepped": rates(0.8, 11, lambda o: StepLR(o, step_size=3, gamma=0.5)),
    "one cycle": rates(0.1, 20, lambda o: OneCycleLR(o, max_lr=0.1, total_steps=20)),
    "one cycle with its own ends": rates(
        0.1,
        25,
        lambda o: OneCycleLR(o, max_lr=0.1, total_steps=25, pct_start=0.42, div_factor=10, final_div_factor=100),
    ),
}
print(json.dumps({"torch": torch.__version__, "rates": expected}, indent=2))
