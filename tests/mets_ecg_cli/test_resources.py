import pytest

from mets_ecg.demo import REAL_RECORD
from mets_ecg.resources import resource


def test_the_demo_finds_its_recipe_and_its_recording():
    assert "task: simulated" in resource("configs", "demo.yaml").read_text()
    assert resource("records", f"{REAL_RECORD}.hea").with_suffix(".dat").is_file()


def test_a_card_has_its_template():
    assert "# {{ info.title }}" in resource("cards", "dataset.md.jinja").read_text()


def test_what_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="nothing.yaml"):
        resource("configs", "nothing.yaml")
