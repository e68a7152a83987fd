"""A small model trained for a few steps, by one process or by several under DistributedDataParallel.

torchrun --standalone --nproc-per-node 2 train_together.py FILE
"""

from __future__ import annotations

import os
import sys

import torch
from torch import nn

from gnomon.core.errors import SettingsError
from gnomon.embedding.module import RobeEmbeddingBag

ROWS, DIM, BATCH, STEPS = (50, 30, 20), 8, 32, 20


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.bags = RobeEmbeddingBag(ROWS, DIM, compression=4, sign="element")
        self.top = nn.Linear(len(ROWS) * DIM, 1)

    def forward(self, indices):
        return self.top(self.bags(indices).flatten(1)).squeeze(1)


def train(rank: int = 0, processes: int = 1):
    """Losses of the whole batches, and the array in the end."""
    random = torch.Generator().manual_seed(5)
    model = Model()
    trained = nn.parallel.DistributedDataParallel(model) if processes > 1 else model
    optimiser = torch.optim.SGD(trained.parameters(), lr=1.0)
    losses = []
    for _ in range(STEPS):
        indices = torch.stack([torch.randint(0, n, (BATCH,), generator=random) for n in ROWS], 1)
        labels = (indices[:, 0] < ROWS[0] // 2).float()
        mine = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(trained(indices[mine]), labels[mine])
        loss.backward()
        optimiser.step()
        told = loss.detach().clone()
        if processes > 1:
            torch.distributed.all_reduce(told)
        losses.append(float(told) / processes)
    return losses, model.bags.weight.detach()


def refused() -> str:
    """What a fused optimiser says here."""
    try:
        RobeEmbeddingBag(ROWS, DIM, compression=4, fused="sgd")(
            torch.zeros(1, 3, dtype=torch.int64)
        )
    except SettingsError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    losses, array = train(rank, processes)
    arrays = [torch.empty_like(array) for _ in range(processes)]
    torch.distributed.all_gather(arrays, array)
    if rank == 0:
        torch.save({"losses": losses, "arrays": arrays, "refused": refused()}, sys.argv[1])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # Gloo's threads outlive the group here. One that still lets go of a tensor while the interpreter is taken
    # down aborts the process (pytorch/pytorch#179291), so the interpreter is not taken down.
    sys.stdout.flush()
    os._exit(0)
