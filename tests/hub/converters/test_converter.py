"""Every tensor of a released checkpoint is accounted for."""

import dataclasses

import pytest
import torch
from torch import nn

from mets_ecg.hub.converters.converter import Converter


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.embedding = nn.Embedding(5, 4)
        self.again = self.embedding


CONVERTER = Converter(
    weights=lambda held: held,
    rules=((r"fc\.(\w+)", r"layer.\1"), (r"emb\.weight", "embedding.weight"), (r"emb2\.weight", "again.weight")),
    computed={"codes": lambda shape: torch.arange(shape[-1]).float()[None]},
    unused=frozenset({"old"}),
    model=Tied,
    processor=lambda name: None,
    tokenizer="",
    origin=None,
)


@pytest.fixture
def released():
    table = torch.randn(5, 4)
    return {
        "fc.weight": torch.randn(2, 3),
        "fc.bias": torch.randn(2),
        "emb.weight": table,
        "emb2.weight": table.clone(),
        "codes": torch.arange(6).float()[None],
        "old": torch.ones(9),
    }


def test_each_tensor_gets_its_place(released):
    model = Tied()
    CONVERTER.load(model, released)
    assert torch.equal(model.layer.weight, released["fc.weight"])
    assert torch.equal(model.layer.bias, released["fc.bias"])
    assert torch.equal(model.embedding.weight, released["emb.weight"])


def test_the_first_rule_that_matches_the_whole_name_counts():
    assert CONVERTER.our_name("fc.bias") == "layer.bias"
    assert CONVERTER.our_name("fc.bias.extra") is None
    other = dataclasses.replace(CONVERTER, rules=((r"fc\.bias", "first"), *CONVERTER.rules))
    assert other.our_name("fc.bias") == "first"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fc.bias": None}, r"layer.bias \(2,\) is missing"),
        ({"extra.weight": torch.ones(2, 7)}, r"extra.weight \(2, 7\) is unknown"),
        ({"fc.scale": torch.ones(2)}, r"fc.scale \(2,\) has no place in the model \(layer.scale\)"),
        ({"fc.weight": torch.ones(3, 2)}, r"fc.weight is \(3, 2\), expected \(2, 3\)"),
        ({"fc.bias": torch.tensor([0.0, torch.nan])}, "fc.bias has values that are not finite"),
        ({"codes": torch.ones(1, 6)}, "codes is not what this model computes in its place"),
        ({"codes": torch.arange(6).float()}, "codes is not what this model computes in its place"),
        ({"emb2.weight": torch.zeros(5, 4)}, "emb.* differs from another tensor of the checkpoint"),
    ],
)
def test_what_does_not_fit_is_named(released, change, reason):
    held = {name: tensor for name, tensor in (released | change).items() if tensor is not None}
    with pytest.raises(ValueError, match=reason):
        CONVERTER.load(Tied(), held)


def test_all_culprits_are_counted(released):
    held = released | {f"unknown{i}": torch.ones(1) for i in range(9)}
    with pytest.raises(ValueError, match=r"unknown0 .*unknown4 \(1,\) is unknown \(and 4 more\)"):
        CONVERTER.load(Tied(), held)
