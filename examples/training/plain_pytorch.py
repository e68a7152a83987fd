"""A training loop in plain PyTorch as a benchmark.

gnomon run train-digits --system own-loop -s file=examples/training/plain_pytorch.py
"""

import numpy as np
import torch
from torch import nn


def train(run):
    torch.manual_seed(run.seed)
    random = np.random.default_rng(run.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 4 * 4, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def answers(samples):
        with torch.inference_mode():
            return model(torch.from_numpy(run.inputs(samples))).argmax(1)

    run.start()  # from here on the clock runs, and data may be read
    images = torch.from_numpy(run.inputs(run.trained_on))
    labels = torch.from_numpy(run.targets(run.trained_on))
    size = run.hyperparameters["global_batch_size"]
    for _ in run.epochs():
        for batch in torch.from_numpy(random.permutation(len(labels))).split(size)[:-1]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            if run.step(loss.detach()):
                run.evaluate(answers)
            if run.finished:
                break

    def restored(path):
        model.load_state_dict(torch.load(path, weights_only=True))
        return answers

    run.keep(lambda path: torch.save(model.state_dict(), path), restored)
