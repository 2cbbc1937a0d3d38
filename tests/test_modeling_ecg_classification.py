import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from mets_ecg import ECGClassificationConfig, ECGForSequenceClassification

TINY = {"ecg_config": {"hidden_sizes": [6, 10], "depths": [1, 1], "sampling_rate": 100}}


def build(**fields):
    torch.manual_seed(0)
    return ECGForSequenceClassification(ECGClassificationConfig(**TINY, **fields))


def batch(size=4):
    return torch.randn(size, 12, 320, generator=torch.Generator().manual_seed(1))


def test_the_losses_by_hand():
    values = batch()
    model = build(num_labels=3).eval()
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    output = model(values, labels=labels)
    p = output.logits.sigmoid()
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(output.loss, expected)

    model = build(num_labels=3, problem_type="single_label_classification").eval()
    labels = torch.tensor([2, 0, 1, 1])
    output = model(values, labels=labels)
    torch.testing.assert_close(output.loss, -output.logits.log_softmax(dim=1)[range(4), labels].mean())


def test_saving_and_loading(tmp_path):
    model = build(id2label={0: "NORM", 1: "MI"}, thresholds=[0.3, 0.6]).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is ECGForSequenceClassification
    assert loaded.config.id2label == {0: "NORM", 1: "MI"} and loaded.config.thresholds == [0.3, 0.6]
    torch.testing.assert_close(loaded(batch()).logits, model(batch()).logits)
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()


def test_a_new_head_stands_on_the_encoder_of_a_dual_encoder(tiny_checkpoint, tiny_model, transformers_log):
    model = ECGForSequenceClassification.from_pretrained(tiny_checkpoint, id2label={0: "a", 1: "b", 2: "c"})
    assert model.classifier.weight.shape == (3, 14) and not model.training
    assert "is new: train it" in transformers_log.text
    for name, values in tiny_model.ecg_model.state_dict().items():
        assert torch.equal(values, model.ecg_model.state_dict()[name])
    with pytest.raises(ValueError, match="has an ECG encoder and no classification head: pass num_labels"):
        ECGForSequenceClassification.from_pretrained(tiny_checkpoint)


def test_a_head_of_another_size_is_refused(tmp_path):
    build(num_labels=3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"mismatched: classifier.*\(3, 10\) instead of \(5, 10\)"):
        ECGForSequenceClassification.from_pretrained(tmp_path, num_labels=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_labels": 3, "thresholds": [0.5]}, "1 thresholds for 3 classes"),
        ({"classifier_dropout": 1.0}, "classifier_dropout must be from 0 to below 1"),
        ({"problem_type": "regression"}, "problem_type"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ECGClassificationConfig(**TINY, **fields)


def test_a_misspelt_field_is_named():
    with pytest.raises(TypeError, match="did you mean 'thresholds'"):
        ECGClassificationConfig(threshold=[0.5])


def test_the_trainer_of_transformers_trains_and_saves_it(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, size=(32, 2))
    signals = generator.standard_normal((32, 12, 320)) * 0.1 + labels[:, :1, None]  # the first class is an offset
    rows = [
        {"input_values": torch.tensor(signal, dtype=torch.float32), "labels": torch.tensor(own)}
        for signal, own in zip(signals, labels, strict=True)
    ]
    model = build(num_labels=2)
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=12, per_device_train_batch_size=8, learning_rate=0.01, report_to=[],
        save_strategy="no", use_cpu=True, logging_steps=1,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    trainer.save_model(tmp_path / "saved")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(loaded(batch()).logits, model.eval()(batch()).logits)
    assert (
        "modeling_ecg_classification"
        in json.loads((tmp_path / "saved" / "config.json").read_text())["auto_map"][
            "AutoModelForSequenceClassification"
        ]
    )
