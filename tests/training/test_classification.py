"""Classification as a method: labels, weights, rates by layer, and what chooses."""

import dataclasses

import numpy as np
import pytest
import torch

from mets_ecg.evaluation.tasks import simulated_task
from mets_ecg.training.classification import Classification


@pytest.fixture
def make(finetune_arguments, prepared):
    def make(task=None, rows=None, validation=None, **changes):
        torch.manual_seed(0)
        method = Classification(dataclasses.replace(finetune_arguments, **changes), task or simulated_task())
        method.build()
        rows = method.setup(prepared if rows is None else rows, validation)
        return method, rows

    return make


def test_each_record_comes_with_its_own_labels(make, prepared):
    method, rows = make()
    names = prepared.features["labels_findings"].feature.names
    batch = method.collate(rows.take([5, 0, 9]), torch.Generator())
    for record, own in zip((5, 0, 9), batch["labels"], strict=True):
        found = {code for code, label in zip(method.task.classes, own.tolist(), strict=True) if label}
        assert found == {names[i] for i in rows["labels_findings"][record]} & set(method.task.classes)


def test_the_loss_by_hand_with_and_without_class_weights(make):
    for weights in ("none", "balanced"):
        method, rows = make(class_weights=weights)
        batch = method.collate(rows.take(range(16)), torch.Generator())
        model = method.model.eval()
        loss = method.losses(model, batch)["classification"]
        logits = model(batch["input_values"]).logits
        positive = method.labels.sum(dim=0)
        factor = (len(rows) - positive) / positive if weights == "balanced" else torch.ones_like(positive)
        p, y = logits.sigmoid(), batch["labels"]
        torch.testing.assert_close(loss, -(factor * y * p.log() + (1 - y) * (1 - p).log()).mean(), atol=1e-4, rtol=1e-4)


def test_rates_fall_with_depth_and_every_weight_is_trained_once(make):
    method, _ = make(layer_decay=0.5)
    groups = method.parameter_groups(1.0)
    assert [group["lr"] for group in groups] == sorted((group["lr"] for group in groups), reverse=True)
    assert groups[0]["params"][0] is method.model.classifier.weight and groups[0]["lr"] == 1.0
    stem = next(
        group for group in groups if any(p is method.model.ecg_model.stem.convolution.weight for p in group["params"])
    )
    assert stem["lr"] == min(group["lr"] for group in groups) < 0.2
    assert sum(len(group["params"]) for group in groups) == len(list(method.model.parameters()))


def test_a_part_of_the_patients_is_drawn_whole_and_by_the_seed(make, prepared):
    drawn = []
    for seed in (0, 0, 1):
        method, rows = make(label_fraction=0.25, seed=seed)
        patients = set(rows["patient_id"])
        assert len(patients) == round(0.25 * len(set(prepared["patient_id"])))
        assert len(rows) == sum(patient in patients for patient in prepared["patient_id"]) == method.counts["train"]
        drawn.append(patients)
    assert drawn[0] == drawn[1] != drawn[2]


def test_only_the_leads_asked_for_are_seen(make):
    method, rows = make(leads=["II", "V1"])
    mask = method.collate(next(rows.in_order(4)), torch.Generator())["lead_mask"]
    assert mask.sum(dim=1).tolist() == [2] * 4


def test_one_class_alone_teaches_nothing(make, prepared):
    task = dataclasses.replace(
        simulated_task(["atrial fibrillation", "left bundle branch block"]), problem_type="single-label"
    )
    af = task.classes.keys().__iter__().__next__()
    names = prepared.features["labels_findings"].feature.names
    only = [
        i for i, own in enumerate(prepared["labels_findings"]) if {names[j] for j in own} & set(task.classes) == {af}
    ]
    with pytest.raises(ValueError, match="have 1 of the classes of simulated: nothing can be learned"):
        make(task=task, rows=prepared.select(only))


def test_validation_measures_and_sets_thresholds(make, prepared):
    from sklearn.metrics import roc_auc_score

    method, _ = make(rows=prepared.select(range(100)), validation=prepared.select(range(100, 160)))
    figures = method.validate()
    from mets_ecg.evaluation.encoding import encode_ecgs

    scores = encode_ecgs([method.model], method.validation_rows)[0].outputs.numpy()
    labels = method.validation.labels
    kept = labels.any(axis=0) & ~labels.all(axis=0)
    expected = np.mean([roc_auc_score(labels[:, i], scores[:, i]) for i in np.flatnonzero(kept)])
    assert figures["validation_macro_auroc"] == pytest.approx(expected)
    assert len(method.model.config.thresholds) == len(method.task.classes)


def test_a_classifier_of_other_classes_is_refused(make, tiny_checkpoint, tmp_path):
    from mets_ecg import ECGFeatureExtractor, ECGForSequenceClassification

    ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=2).save_pretrained(tmp_path / "other")
    ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="is a classifier of LABEL_0, LABEL_1, and the task has"):
        make(model=str(tmp_path / "other"), ecg_config={}, feature_extractor={})


def test_an_encoder_that_was_saved_alone_is_trained_further(make, tiny_model, tiny_processor, tmp_path):
    tiny_model.ecg_model.save_pretrained(tmp_path / "encoder")
    tiny_processor.feature_extractor.save_pretrained(tmp_path / "encoder")
    method, _ = make(model=str(tmp_path / "encoder"), ecg_config={}, feature_extractor={})
    for name, own in tiny_model.ecg_model.state_dict().items():
        assert torch.equal(method.model.ecg_model.state_dict()[name], own)
    assert method.encoder_from == {"model": "encoder", "parts": {}, "corpora": {}}
