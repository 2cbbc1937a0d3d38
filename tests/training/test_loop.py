import dataclasses

import pytest
import torch

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.text_embeddings import encode_texts
from mets_ecg.training.loop import make_accelerator, train
from mets_ecg.training.objectives import ContrastiveObjective
from mets_ecg.training.pretrain import build


def test_fewer_records_than_a_batch_are_refused(setup, pretrain_arguments):
    model, objective, rows = setup
    with pytest.raises(ValueError, match="4 training records do not fill one batch of 16"):
        train(model, objective, rows.select(range(4)), pretrain_arguments, None, on_epoch_end=None)


@pytest.fixture
def setup(pretrain_arguments, simulated_corpus):
    model, processor = build(pretrain_arguments)
    rows = load_prepared_rows(processor.feature_extractor, corpus=simulated_corpus)
    texts = encode_texts(model, processor, list(rows["findings"]), progress=False)
    return model, ContrastiveObjective(texts, duplicate_text_policy="positives"), rows


def test_training_lowers_the_loss_and_leaves_the_text_model_as_it_was(setup, pretrain_arguments):
    model, objective, rows = setup
    text_before = {name: value.clone() for name, value in model.text_model.state_dict().items()}
    epochs = []

    arguments = dataclasses.replace(pretrain_arguments, epochs=6)
    train(model, objective, rows, arguments, make_accelerator(arguments), on_epoch_end=epochs.append)

    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] - 0.1
    assert all(torch.equal(value, text_before[name]) for name, value in model.text_model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.text_model.parameters())


def test_the_same_seed_trains_the_same_weights(setup, pretrain_arguments):
    model, objective, rows = setup
    start = {name: value.clone() for name, value in model.state_dict().items()}
    arguments = dataclasses.replace(pretrain_arguments, max_steps=3, time_shift=0.2)
    objective.max_shift = 20

    trained = []
    for _ in range(2):
        model.load_state_dict(start)
        train(model, objective, rows, arguments, make_accelerator(arguments), on_epoch_end=lambda epoch: None)
        trained.append({name: value.clone() for name, value in model.state_dict().items()})

    assert all(torch.equal(trained[0][name], trained[1][name]) for name in start)
    assert not torch.equal(trained[0]["ecg_projection.0.weight"], start["ecg_projection.0.weight"])


def test_a_loss_that_is_not_finite_stops_the_run(setup, pretrain_arguments):
    model, objective, rows = setup
    with torch.no_grad():
        model.ecg_projection[0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="lower --learning-rate"):
        train(
            model,
            objective,
            rows,
            pretrain_arguments,
            make_accelerator(pretrain_arguments),
            on_epoch_end=lambda e: None,
        )
