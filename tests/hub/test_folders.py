"""What of a folder would go to the Hub, and what must not."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from mets_ecg.hub.folders import read_folder


def test_a_checkpoint_is_pushed_whole_and_nothing_else_of_its_folder(checkpoint):
    own = {path.name for path in checkpoint.iterdir()}
    for name in ("notes.py", "patients.csv", "pytorch_model.bin", ".env", "model.safetensors.tmp"):
        (checkpoint / name).write_text("secret")
    (checkpoint / "runs").mkdir()
    (checkpoint / "runs" / "events").write_text("log")
    (checkpoint / "LICENSE.txt").write_text("CC BY 4.0")
    found = read_folder(checkpoint)
    assert found.repo_type == "model"
    assert set(found.files) == own | {"handler.py", "LICENSE.txt"}
    assert {"config.json", "model.safetensors", "README.md", "metrics.json", "modeling_ecg_text.py"} <= own
    assert set(found.others) == {
        "notes.py",
        "patients.csv",
        "pytorch_model.bin",
        "model.safetensors.tmp",
        "runs/events",
    }


@pytest.mark.parametrize("name", ["tiny-mets", "tiny-c-melt", "tiny-classifier"])
def test_nothing_of_a_finished_run_stays_behind(trained, name):
    assert read_folder(trained[name]).others == []


def test_weights_in_several_files_go_together(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, own in shards.items():
        save_file({name: weights[name] for name in own}, checkpoint / shard)
    (checkpoint / "model.safetensors").unlink()
    index = {"weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {*shards, "model.safetensors.index.json"} <= set(read_folder(checkpoint).files)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="lacks model-00002-of-00002.safetensors, which its index names"):
        read_folder(checkpoint)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def no_code(path):
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("auto_map", "custom_pipelines")}))


@pytest.mark.parametrize(
    ("name", "damage", "error", "reason"),
    [
        ("model.safetensors", lambda path: path.unlink(), FileNotFoundError, "a config.json and no model.safetensors"),
        ("model.safetensors", cut, ValueError, "the weights '.*model.safetensors' are damaged"),
        ("processor_config.json", lambda path: path.unlink(), FileNotFoundError, "has no processor_config.json"),
        ("README.md", lambda path: path.unlink(), FileNotFoundError, "no README.md, its model card"),
        ("modeling_ecg_text.py", lambda path: path.unlink(), FileNotFoundError, "lacks modeling_ecg_text.py, which"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(checkpoint, name, damage, error, reason):
    damage(checkpoint / name)
    with pytest.raises(error, match=reason):
        read_folder(checkpoint)


def test_a_checkpoint_without_its_own_code_is_refused(checkpoint):
    no_code(checkpoint / "config.json")
    no_code(checkpoint / "processor_config.json")
    processor = json.loads((checkpoint / "processor_config.json").read_text())
    processor["feature_extractor"].pop("auto_map")
    (checkpoint / "processor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ValueError, match="names no code: save the model by mets-ecg's own classes"):
        read_folder(checkpoint)


def test_a_metric_is_a_space_with_its_modules(tmp_path):
    from mets_ecg.evaluation import statistics

    source = next(path for path in _metrics() if path.name == "macro_auroc")
    found = read_folder(source)
    assert found.repo_type == "space"
    assert set(found.files) == {"macro_auroc.py", "statistics.py", "README.md", "app.py", "requirements.txt"}
    with open(statistics.__file__, "rb") as file:
        assert found.files["statistics.py"] == file.read()  # not the link
    copied = shutil.copytree(source, tmp_path / "macro_auroc")
    assert read_folder(copied).files == found.files


def _metrics():
    from pathlib import Path

    from mets_ecg import evaluation

    return (Path(evaluation.__file__).parent / "metrics").iterdir()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder '.*nothing'"):
        read_folder(tmp_path / "nothing")
