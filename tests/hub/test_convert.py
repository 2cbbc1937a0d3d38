"""`mets-ecg convert` on files: what they carry, what is written, and what is refused."""

import argparse
import dataclasses
import pickle

import pytest
import torch

import mets_ecg_cli
from mets_ecg import ECGTextForPreTraining
from mets_ecg.hub.convert import CONVERTERS, convert_checkpoint, converter_weights
from mets_ecg.hub.converters.dbeta import DBETA
from mets_ecg.hub.folders import read_folder


@pytest.fixture
def tiny(trained):
    """D-BETA's converter of a model that is small; its tensors have our names."""
    model = ECGTextForPreTraining.from_pretrained(trained["tiny-c-melt"])
    text = str(trained["tiny-c-melt"])
    converter = dataclasses.replace(
        DBETA, model=lambda: ECGTextForPreTraining(model.config), rules=((r"(.+)", r"\1"),), tokenizer=text
    )
    return converter, model


def save(path, held) -> str:
    torch.save(held, path)
    return str(path)


def test_a_folder_is_written_that_loads_asks_and_can_be_pushed(tiny, tmp_path):
    converter, model = tiny
    released = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    released["ecg_encoder.mask_emb"] = torch.ones(3)  # which the released code deletes
    beside = {"args": argparse.Namespace(lr=1e-3), "optimizer_history": [{"num_updates": 300000}]}
    checkpoint = save(tmp_path / "sample.pt", {"model": released, **beside})
    convert_checkpoint(converter, checkpoint, str(tmp_path / "d-beta"))
    loaded = ECGTextForPreTraining.from_pretrained(tmp_path / "d-beta")
    assert all(torch.equal(loaded.state_dict()[name], own) for name, own in model.state_dict().items())
    card = (tmp_path / "d-beta" / "README.md").read_text()
    for said in ("license: cc-by-nc-4.0", "Manhph2211/D-BETA", "MIMIC-IV-ECG", "The file `sample.pt` has SHA-256 `"):
        assert said in card
    assert "| rate | 500 Hz;" in card and "| filter | none |" in card and "none, millivolts" in card
    assert "| the weights | Creative Commons Attribution-NonCommercial 4.0" in card
    assert read_folder(tmp_path / "d-beta").others == []
    assert {path.name for path in tmp_path.iterdir()} == {"sample.pt", "d-beta"}


class Payload:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (eval, (f"open({self.marker!r}, 'w').write('run')",))


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    path = save(tmp_path / "evil.pt", {"model": {"class_embedding": torch.ones(3)}, "extra": Payload(tmp_path / "ran")})
    with pytest.raises(ValueError, match=r"carries code \(.*eval.*\), which is not run: save its tensors alone"):
        converter_weights(DBETA, path)
    with open(tmp_path / "evil.pkl", "wb") as file:
        pickle.dump(Payload(tmp_path / "ran"), file)
    with pytest.raises(ValueError, match="carries code|no file of torch.save"):
        converter_weights(DBETA, str(tmp_path / "evil.pkl"))
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("not a checkpoint")
    (tmp_path / "empty.pt").write_bytes(b"")
    whole = save(tmp_path / "whole.pt", {"model": {"a": torch.ones(1000)}})
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:900])
    for name in ("text.pt", "empty.pt", "cut.pt"):
        with pytest.raises(ValueError, match="is no file of torch.save, or a damaged one"):
            converter_weights(DBETA, str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match="there is no file '.*nothing.pt'"):
        converter_weights(DBETA, str(tmp_path / "nothing.pt"))
    for held in ({"state_dict": {}}, [1, 2], {"model": 3}):
        with pytest.raises(ValueError, match="does not hold what such a checkpoint does"):
            converter_weights(DBETA, save(tmp_path / "other.pt", held))
    with pytest.raises(ValueError, match="something else than a tensor under 'epoch'"):
        converter_weights(DBETA, save(tmp_path / "mixed.pt", {"model": {"a": torch.ones(1), "epoch": 3}}))
    assert set(converter_weights(DBETA, whole)) == {"a"}


def test_nothing_is_left_of_a_conversion_that_failed(tiny, tmp_path):
    converter, model = tiny
    released = {name: tensor for name, tensor in model.state_dict().items() if "mem_head" not in name}
    checkpoint = save(tmp_path / "sample.pt", {"model": released})
    with pytest.raises(ValueError, match=r"mem_head\.\S+ \(.*\) is missing; .* \(and \d+ more\)"):
        convert_checkpoint(converter, checkpoint, str(tmp_path / "d-beta"))
    assert {path.name for path in tmp_path.iterdir()} == {"sample.pt"}


def test_a_folder_that_holds_something_is_not_written_over(tiny, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years")
    with pytest.raises(FileExistsError, match="full' is there already"):
        convert_checkpoint(tiny[0], "sample.pt", str(tmp_path / "full"))


def test_the_command_says_what_it_lacks(tmp_path, capsys, tiny_text_model):
    flags = ["convert", "dbeta", str(tmp_path / "no.pt"), str(tmp_path / "out"), "--tokenizer", tiny_text_model]
    assert mets_ecg_cli.main(flags) == 1
    assert capsys.readouterr().err == f"mets-ecg convert: there is no file {str(tmp_path / 'no.pt')!r}\n"
    assert set(CONVERTERS) == {"dbeta"}
