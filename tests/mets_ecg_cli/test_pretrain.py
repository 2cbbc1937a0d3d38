import pytest

from mets_ecg_cli.pretrain import PretrainArguments


def test_the_defaults_are_what_mets_states():
    arguments = PretrainArguments(output="o")
    stated = (
        arguments.epochs,
        arguments.batch_size,
        arguments.learning_rate,
        arguments.weight_decay,
        arguments.optimizer,
    )
    assert stated == (50, 32, 1e-3, 1e-3, "adam")


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch_size", 1), ("lead_dropout", 1.0), ("warmup_fraction", -0.1), ("max_steps", 0)],
)
def test_a_value_out_of_range_names_its_flag(field, value):
    with pytest.raises(ValueError, match=f"--{field.replace('_', '-')}"):
        PretrainArguments(output="o", **{field: value})
