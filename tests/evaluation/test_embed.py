import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from transformers import AutoModel, AutoProcessor

from mets_ecg import ECGFeatureExtractor, ECGForSequenceClassification
from mets_ecg.evaluation.embed import run_embed
from mets_ecg.io import read_wfdb
from mets_ecg_cli.embed import EmbedArguments


def test_the_folder_loads_as_a_data_set_of_the_model_s_vectors(tiny_checkpoint, ptb_xl_source, tmp_path):
    arguments = EmbedArguments(model=str(tiny_checkpoint), source=str(ptb_xl_source), output=str(tmp_path / "out"))
    path = run_embed(arguments)
    assert path.name == "embeddings-00000-of-00001.parquet"
    rows = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) > 20  # all that are there
    row = next(row for row in rows if row["record_id"] == "338")
    assert row["corpus"] == "ptb-xl" and row["fold"] == 8
    model, processor = AutoModel.from_pretrained(tiny_checkpoint), AutoProcessor.from_pretrained(tiny_checkpoint)
    record = read_wfdb(ptb_xl_source / "records100" / "00000" / "00338_lr")
    inputs = processor(ecg=record, return_tensors="pt")
    with torch.no_grad():
        embeds = model.normalize_features(model.get_ecg_features(**inputs))[0]
    assert np.allclose(row["ecg_embeds"], embeds, atol=1e-4)
    with pytest.raises(FileExistsError, match="is there already"):
        run_embed(arguments)


def test_of_a_classifier_probabilities_are_written(tiny_checkpoint, ptb_xl_source, tmp_path):
    ECGForSequenceClassification.from_pretrained(tiny_checkpoint, num_labels=3).save_pretrained(tmp_path / "c")
    ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "c")
    where = {"model": str(tmp_path / "c"), "source": str(ptb_xl_source), "test": ["8"]}
    table = pq.read_table(run_embed(EmbedArguments(**where, output=str(tmp_path / "out"))))
    values = np.array(table.column("probabilities").to_pylist())
    assert values.shape == (len(table), 3) and (values > 0).all() and (values < 1).all()


def test_two_processes_write_what_one_does_between_them(tiny_checkpoint, ptb_xl_source, tmp_path):
    flags = ["mets_ecg_cli", "embed", "--model", str(tiny_checkpoint), "--source", str(ptb_xl_source)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    run = subprocess.run([*launcher, *flags, "--output", str(tmp_path / "two")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    files = sorted((tmp_path / "two").iterdir())
    assert [path.name for path in files] == [f"embeddings-0000{i}-of-00002.parquet" for i in range(2)]
    whole = pq.read_table(
        run_embed(EmbedArguments(model=flags[3], source=flags[5], output=str(tmp_path / "one")))
    ).to_pandas()
    both = [pq.read_table(path).to_pandas() for path in files]
    assert [*both[0].record_id, *both[1].record_id] == [*whole.record_id]
    joined = np.stack([*both[0].ecg_embeds, *both[1].ecg_embeds])
    assert np.allclose(joined, np.stack(whole.ecg_embeds), atol=1e-5)
