"""The card of a finished run says what a reader must know, and its snippet runs."""

import contextlib
import io
import json
import re

import pytest
from huggingface_hub import ModelCard

from mets_ecg import ECGFeatureExtractor
from mets_ecg.hub.model_card import THIS_REPOSITORY, TO_STATE, check_model_card, write_model_card


def card_of(folder) -> ModelCard:
    return ModelCard((folder / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["tiny-mets", "tiny-c-melt", "tiny-classifier"])
def test_a_run_leaves_a_card_whose_snippet_runs(trained, name):
    text = card_of(trained[name]).text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code.replace(THIS_REPOSITORY, str(trained[name])), "README.md", "exec"), {})
    lines = printed.getvalue().splitlines()
    assert len(lines) == (12 if name == "tiny-classifier" else 3)
    assert all(re.fullmatch(r"[01]\.\d\d  .+", line) for line in lines)


def test_the_metadata_is_complete_and_has_the_figures_of_the_run(trained):
    data = card_of(trained["tiny-mets"]).data
    auroc = json.loads((trained["tiny-mets"] / "metrics.json").read_text())["test"]["lines"]["phrases"]["auroc"]
    assert (data.library_name, data.pipeline_tag) == ("transformers", "zero-shot-classification")
    assert (data.license, data.datasets, data.metrics) == ("apache-2.0", ["simulated"], ["roc_auc"])
    assert {"ecg", "mets", "custom_code"} <= set(data.tags)
    assert data.model_name == "tiny-mets"
    (result,) = data.eval_results
    assert result.metric_value == round(auroc["macro"], 4)
    assert f"{auroc['macro_low']:.3f} to {auroc['macro_high']:.3f}" in result.metric_name
    assert "simulated, simulated 10" in result.dataset_name


@pytest.mark.parametrize("name", ["tiny-mets", "tiny-c-melt", "tiny-classifier"])
def test_the_text_says_what_it_reads_what_it_was_trained_on_and_what_it_is_not_for(trained, name):
    text, metrics = card_of(trained[name]).text, json.loads((trained[name] / "metrics.json").read_text())
    line = metrics["test"]["lines"]["classifier" if name == "tiny-classifier" else "phrases"]["auroc"]
    for said in (
        "**Not a medical device.**",
        "| leads | I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6, found by name",
        "| rate | 100 Hz;",
        "| filter | none |",
        f"on {metrics['counts']['train']:,} recordings",
        "Recordings simulated by mets-ecg: ",
        ": train 1-8; validation 9; test 10",
        f"the epoch was chosen on the validation part (epoch {metrics['best_epoch']} of {len(metrics['epochs'])})",
        "kWh if it took 10 W a thread, an estimate and not a measurement",
        f"{line['macro']:.3f} ({line['macro_low']:.3f} to {line['macro_high']:.3f})",
        "| the weights | Apache 2.0 |",
    ):
        assert said in text, said
    assert ("METS' template" in text) == (name != "tiny-classifier")
    assert "None" not in text and "{" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_a_classifier_says_what_its_encoder_was_pre_trained_on(trained):
    text = card_of(trained["tiny-classifier"]).text
    assert "Fine-tuned from the encoder of `" in text
    assert "pre-training: train 1-8; validation 9; test 10; fine-tuning: train 1-8; validation 9; test 10" in text
    assert "## Classes\n\nSeveral a recording, of the task `simulated`: " in text


def test_each_method_is_cited(trained):
    assert "arXiv 2303.12311" in card_of(trained["tiny-mets"]).text
    assert "arXiv 2410.02131" in card_of(trained["tiny-c-melt"]).text
    assert "c-melt" in card_of(trained["tiny-c-melt"]).data.tags


def test_a_licence_that_nobody_stated_must_be_put_in(checkpoint):
    metrics = json.loads((checkpoint / "metrics.json").read_text())
    metrics["corpora"]["simulated"] |= {"title": "mine", "licence": "unknown"}
    (checkpoint / "metrics.json").write_text(json.dumps(metrics))
    write_model_card(checkpoint)
    assert card_of(checkpoint).data.license == "other"
    with pytest.raises(ValueError, match=rf"still says {re.escape(TO_STATE)} in line \d+ \(- mine: "):
        check_model_card(checkpoint)
    text = (checkpoint / "README.md").read_text().replace(TO_STATE, "my own")
    (checkpoint / "README.md").write_text(text)
    check_model_card(checkpoint)


def test_a_text_encoder_of_an_unknown_licence_asks_for_it(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"text_model_id": "somebody/bert"}))
    write_model_card(checkpoint)
    assert card_of(checkpoint).data.base_model == ["somebody/bert"]
    with pytest.raises(ValueError, match="the text encoder, `somebody/bert`"):
        check_model_card(checkpoint)


def test_several_leads_and_a_filter_are_told(checkpoint):
    processor = json.loads((checkpoint / "processor_config.json").read_text())
    processor["feature_extractor"] |= {"bandpass": [0.5, 40.0], "notch_frequency": 45.0}
    (checkpoint / "processor_config.json").write_text(json.dumps(processor))
    write_model_card(checkpoint)
    assert (
        "| filter | above 0.5 Hz and below 40 Hz, zero-phase Butterworth; notch at 45 Hz |" in card_of(checkpoint).text
    )


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("library_name: transformers\n", "", "has no library_name in the YAML on top"),
        ("license: apache-2.0", "license: ''", "has no license in the YAML on top"),
        ("---\ndatasets", "---\n- [\ndatasets", "cannot be read"),
        (r"(?s)(## Cite\n).*", r"\1", "the section 'Cite' of the model card"),
        (r"(?s)(## Use\n).*?(## Input)", r"\1\n\2", "the section 'Use' of the model card"),
    ],
)
def test_a_card_with_an_empty_field_is_refused(checkpoint, before, after, reason):
    text = (checkpoint / "README.md").read_text()
    changed = re.sub(before, after, text) if before.startswith("(?s)") else text.replace(before, after)
    assert changed != text
    (checkpoint / "README.md").write_text(changed)
    with pytest.raises(ValueError, match=reason):
        check_model_card(checkpoint)


def test_a_checkpoint_without_a_card_is_refused(checkpoint):
    (checkpoint / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match="no README.md, its model card"):
        check_model_card(checkpoint)


def test_what_was_saved_by_hand_gets_a_card_that_asks_for_what_is_not_known(tiny_checkpoint):
    write_model_card(tiny_checkpoint)
    text = card_of(tiny_checkpoint).text
    assert f"How it was trained is not recorded beside the weights: {TO_STATE}." in text
    with pytest.raises(ValueError, match="still says"):
        check_model_card(tiny_checkpoint)


def test_an_encoder_alone_has_no_card_of_ours(tiny_model, tmp_path):
    tiny_model.ecg_model.save_pretrained(tmp_path)
    ECGFeatureExtractor(sampling_rate=100).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a card is written of dual encoders and classifiers"):
        write_model_card(tmp_path)
