"""A callback that makes a Lightning trainer report to a session: clock, steps, evaluations, the end.

    def train(run):
        module = MyModule(run.hyperparameters)
        trainer = lightning.Trainer(callbacks=[TimeToTrain(run, module.answer)], **QUIET)
        trainer.fit(module, MyData(run))

The target ends the training, and the model is handed over; the module's own validation is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import GnomonError
from gnomon.core.task import IndexArray, Outputs
from gnomon.timetotrain.session import TrainingSession

try:
    import torch
    from lightning import Callback, LightningModule, Trainer
except ImportError as error:
    raise GnomonError("Lightning is not installed: pip install lightning") from error

QUIET: dict[str, Any] = {
    "max_epochs": -1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
}
"""What a trainer is to be made with: the session ends it, evaluates and keeps the model."""

Answers = Callable[[IndexArray], Outputs]


class TimeToTrain(Callback):  # type: ignore[misc]
    """Reports a fit to a session.

    Args:
        run: The session.
        answers: The module's answers on samples, by their indices. It is called in evaluation mode.
    """

    def __init__(self, run: TrainingSession, answers: Answers) -> None:
        self._run, self._answers = run, answers
        self._epochs = run.epochs()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock starts before the trainer asks for data."""
        del trainer, pl_module
        self._run.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Number the epoch."""
        del trainer, pl_module
        next(self._epochs, None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Count the step, and evaluate when it is due."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if self._run.step(loss):
            self._run.evaluate(self._evaluated(pl_module))
        trainer.should_stop = self._run.finished

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the model over."""
        del trainer
        if self._run.finished:
            self._run.keep(
                lambda path: torch.save(pl_module.state_dict(), path),
                lambda path: self._restored(pl_module, path),
            )

    def _evaluated(self, module: LightningModule) -> Answers:
        def answers(samples: IndexArray) -> Outputs:
            module.eval()
            with torch.inference_mode():
                outputs = self._answers(samples)
            module.train()
            return outputs if not hasattr(outputs, "cpu") else np.asarray(outputs.cpu())

        return answers

    def _restored(self, module: LightningModule, path: Path) -> Answers:
        """The module with its parameters wiped and read back."""
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.zero_()
        module.load_state_dict(torch.load(path, weights_only=True))
        return self._evaluated(module)
