"""Training with PyTorch: the loop around every task's reference implementation, on one process or many.

Several processes share each global batch by distributed data parallel training; no task notices.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.core.task import IndexArray, Outputs
from gnomon.timetotrain.session import Answer, TrainingSession
from gnomon.timetotrain.system import TrainingSystem
from gnomon.timetotrain.task import Learner, Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_UP_STEPS = 3
GRADIENT_CLIP = "opt_gradient_clip_norm"


class PyTorchTrainer(TrainingSystem):
    """A task's reference implementation, trained with PyTorch.

    Args:
        device: `cpu`, `cuda`, or one of several as PyTorch names it.
        threads: Of each process; None for what the task says, or the processors over the processes.
        warm_up: Whether a model that is thrown away takes a few steps on made-up data before the clock.
        deterministic: Ask PyTorch for algorithms that give the same result every time.
    """

    name = "pytorch"

    def __init__(
        self,
        device: str = "cpu",
        threads: int | None = None,
        warm_up: bool = True,
        deterministic: bool = False,
    ) -> None:
        if find_spec("torch") is None:
            raise MissingExtraError("torch", "train", "training")
        if threads is not None and threads < 1:
            raise SettingsError(f"threads must be at least 1, got {threads}: -s threads=N")
        self.device, self.threads = str(device), threads
        self.warm_up, self.deterministic = warm_up, deterministic

    def describe(self) -> dict[str, Any]:
        """Versions and settings."""
        try:
            torch_version = version("torch")
        except PackageNotFoundError:
            torch_version = "unknown"
        return {
            "framework": f"torch {torch_version}",
            "device": self.device,
            "threads": self.threads,
            "warm_up": self.warm_up,
            "deterministic": self.deterministic,
        }

    def train(self, run: TrainingSession) -> None:
        """One run in this process.

        Raises:
            SettingsError: The batch cannot be shared, or the device is not there.
        """
        import torch
        from torch.nn.parallel import DistributedDataParallel

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        elif run.task.threads is not None:
            torch.set_num_threads(min(run.task.threads, torch.get_num_threads()))
        torch.use_deterministic_algorithms(self.deterministic)
        recipe = run.recipe(self._device(run.group.rank))
        if recipe.global_batch_size % recipe.world_size:
            raise SettingsError(
                f"a global batch of {recipe.global_batch_size} cannot be shared by {recipe.world_size} "
                f"processes: choose --processes, or --set global_batch_size=N, so that it divides"
            )
        if self.warm_up:
            _warm_up(run.task.learner(replace(recipe, seed=0)), recipe)
        learner = run.task.learner(recipe)
        model: nn.Module = learner.model
        if recipe.world_size > 1:
            model = DistributedDataParallel(model)
        clip = _gradient_clip(recipe)
        run.start()
        learner.load_data()
        for epoch in run.epochs():
            model.train()
            for batch in learner.batches(epoch):
                if run.step(_step(learner, model, batch, clip)):
                    model.eval()
                    with torch.inference_mode():
                        run.evaluate(learner.answers)
                    model.train()
                if run.finished:
                    break
        run.keep(
            lambda path: torch.save(learner.model.state_dict(), path),
            lambda path: _restored(run, recipe, path),
        )

    def _device(self, rank: int) -> str:
        """The device of this process: on a machine with several GPUs each has its own.

        Raises:
            SettingsError: There is no such device.
        """
        import torch

        if not self.device.startswith("cuda"):
            return self.device
        if not torch.cuda.is_available():
            raise SettingsError("there is no CUDA device here: leave out -s device=cuda")
        if self.device != "cuda":
            return self.device
        device = f"cuda:{os.environ.get('LOCAL_RANK', rank)}"
        torch.cuda.set_device(device)
        return device


def _step(learner: Learner, model: nn.Module, batch: Any, clip: float) -> Tensor:
    """A step of the optimiser; returns the loss before it."""
    learner.optimizer.zero_grad(set_to_none=True)
    loss = learner.loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip:
        from torch.nn.utils import clip_grad_norm_

        clip_grad_norm_(model.parameters(), clip)
    learner.optimizer.step()
    if learner.schedule is not None:
        learner.schedule.step()
    return loss.detach()


def _warm_up(learner: Learner, recipe: Recipe) -> None:
    """Let libraries choose their kernels and allocate, on a model that is thrown away."""
    batch, clip = learner.made_up_batch(), _gradient_clip(recipe)
    learner.model.train()
    for _ in range(WARM_UP_STEPS):
        _step(learner, learner.model, batch, clip)


def _gradient_clip(recipe: Recipe) -> float:
    """The largest norm of a gradient; 0 for no bound."""
    return recipe.number(GRADIENT_CLIP) if GRADIENT_CLIP in recipe.hyperparameters else 0.0


def _restored(run: TrainingSession, recipe: Recipe, path: Path) -> Answer:
    """From a checkpoint alone to answers."""
    import torch

    learner = run.task.learner(recipe)
    learner.model.load_state_dict(torch.load(path, map_location=recipe.device, weights_only=True))
    learner.model.eval()
    learner.load_data()

    def answers(samples: IndexArray) -> Outputs:
        with torch.inference_mode():
            return learner.answers(samples)

    return answers
