"""A training loop in Lightning as a benchmark: one callback.

gnomon run train-digits --system own-loop -s file=examples/training/with_lightning.py
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gnomon.systems.lightning import QUIET, TimeToTrain


class Digits(lightning.LightningModule):
    def __init__(self, run):
        super().__init__()
        self.run = run
        self.model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 4 * 4, 10),
        )  # fmt: skip

    def training_step(self, batch, _):
        images, labels = batch
        return nn.functional.cross_entropy(self.model(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def train_dataloader(self):  # asked for when the clock runs
        samples = self.run.trained_on
        data = TensorDataset(
            torch.from_numpy(self.run.inputs(samples)), torch.from_numpy(self.run.targets(samples))
        )
        size = self.run.hyperparameters["global_batch_size"]
        order = torch.Generator().manual_seed(self.run.seed)
        return DataLoader(data, size, shuffle=True, drop_last=True, generator=order)

    def answers(self, samples):
        return self.model(torch.from_numpy(self.run.inputs(samples))).argmax(1)


def train(run):
    lightning.seed_everything(run.seed, verbose=False)
    module = Digits(run)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, callbacks=[TimeToTrain(run, module.answers)], **QUIET
    )
    trainer.fit(module)
