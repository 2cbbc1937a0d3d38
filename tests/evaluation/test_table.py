import json

import numpy as np
import pytest

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.parts import select_part
from mets_ecg.evaluation.table import zero_shot_table
from mets_ecg.evaluation.tasks import simulated_task


@pytest.fixture(scope="module")
def table(simulated_corpus, tiny_model, tiny_processor):
    rows = load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)
    task = simulated_task(["sinus rhythm", "sinus tachycardia", "right bundle branch block"])
    return zero_shot_table(
        tiny_model,
        tiny_processor,
        select_part(rows, ["5-10"]),
        task,
        probe_rows=select_part(rows, ["1-4"]),
        text_oracle="report",
        num_resamples=50,
    )


def test_the_table_has_a_line_for_each_way_of_asking(table):
    assert list(table.lines) == ["phrases", "template", "random_encoder", "linear_probe", "text_oracle"]
    assert table.lines["linear_probe"].single_label is None
    for line in table.lines.values():
        assert line.auroc.macro_low <= line.auroc.macro <= line.auroc.macro_high


def test_the_words_of_the_table_show_its_figures(table):
    text = str(table)
    for line in table.lines.values():
        assert line.name in text
        assert f"{line.auroc.macro:.3f}" in text
    row = next(own for own in text.splitlines() if own.startswith("sinus tachycardia"))
    assert row.split()[2] == str(table.lines["phrases"].auroc.num_positives[1])
    assert (
        len({len(own) for own in text.splitlines()[1 + any(line.single_label for line in table.lines.values()) :]}) == 1
    )  # columns line up


def test_the_table_is_plain_json_and_names_what_it_was_made_with(table):
    document = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert document["phrases_version"] == "simulated-phrases-1"
    per_class = document["lines"]["phrases"]["auroc"]["per_class"]
    assert np.allclose(per_class, table.lines["phrases"].auroc.per_class)
