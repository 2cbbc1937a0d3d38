"""Fixtures of the training tests: a method small enough to be checked by hand, and runs without the command."""

import dataclasses

import pytest
import torch
from accelerate.state import AcceleratorState

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.training.loop import train
from mets_ecg.training.method import Method
from mets_ecg.training.processes import make_accelerator
from mets_ecg.training.run_folder import RunFolder
from mets_ecg_cli.finetune import FinetuneArguments
from mets_ecg_cli.training import TrainingArguments


@pytest.fixture(autouse=True)
def forget_the_accelerator():
    """Accelerate keeps one state a process, and refuses another precision."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture(scope="session")
def prepared(simulated_corpus):
    """The simulated corpus as prepared rows, 100 Hz."""
    return load_prepared_rows(ECGFeatureExtractor(sampling_rate=100, bandpass=None), corpus=simulated_corpus)


class Saved(torch.nn.Linear):
    """A linear map that is saved as models are."""

    def save_pretrained(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), folder / "weights.pt")


class NoProcessor:
    def save_pretrained(self, folder):
        pass


class Regression(Method):
    """A linear map of a record's mean leads to targets; what it was given is kept in `seen`."""

    name = "regression"
    best = "error_loss"

    def __init__(self, *, noise=0.0, validation=()):
        self.noise, self.figures, self.seen = noise, iter(validation), []

    def build(self):
        torch.manual_seed(5)
        self.model, self.processor = Saved(12, 3), NoProcessor()
        self.targets = torch.randn(500, 3)
        return self.model, self.processor

    def setup(self, train, validation):
        return train

    def collate(self, batch, generator):
        self.seen.append(batch["index"].tolist())
        values = features(batch) + self.noise * torch.randn(len(batch["index"]), 12, generator=generator)
        return {"index": batch["index"], "input_values": values[:, :, None], "targets": self.targets[batch["index"]]}

    def losses(self, model, batch):
        error = model(batch["input_values"][:, :, 0]) - batch["targets"]
        return {"error": error.square().mean(), "size": 0.01 * error.abs().mean()}

    def validate(self):
        figure = next(self.figures, None)
        return {} if figure is None else {self.best: figure}


def features(batch):
    return batch["input_values"].abs().mean(dim=2) * 10


@pytest.fixture
def arguments(tmp_path):
    """Of a run that takes a fraction of a second; override by `dataclasses.replace`."""
    return TrainingArguments(
        output=str(tmp_path / "model"), epochs=3, batch_size=8, learning_rate=0.01, logging_steps=1
    )


@pytest.fixture
def regression():
    return Regression


@pytest.fixture
def run(prepared):
    """Train a method on 50 of the prepared rows, and return its state."""

    def run(method, arguments, rows=None, **changes):
        arguments = dataclasses.replace(arguments, **changes)
        accelerator = make_accelerator(arguments)
        folder = RunFolder(arguments, method.name)
        with folder.opened(accelerator):
            method.build()
            rows = method.setup(prepared.select(range(50)) if rows is None else rows, None)
            return train(method, rows, arguments, accelerator, folder, {})

    return run


@pytest.fixture
def finetune_arguments(tmp_path):
    """Arguments of a supervised run from scratch that takes seconds."""
    return FinetuneArguments(
        output=str(tmp_path / "classifier"),
        task="simulated",
        ecg_config={"hidden_sizes": [6, 10, 14], "depths": [1, 1, 1]},
        feature_extractor={"sampling_rate": 100, "bandpass": None},
        epochs=2,
        batch_size=16,
        learning_rate=0.01,
    )


@pytest.fixture
def c_melt_arguments(tmp_path, make_c_melt_arguments):
    """Arguments of a small C-MELT that takes seconds."""
    return make_c_melt_arguments(tmp_path / "c-melt")
