import pytest

from mets_ecg.demo import REAL_RECORD
from mets_ecg_cli.resources import find_recipe, resource


def test_the_demo_finds_its_recipe_and_its_recording():
    assert "task: simulated" in resource("configs", "demo.yaml").read_text()
    assert resource("records", f"{REAL_RECORD}.hea").with_suffix(".dat").is_file()


def test_a_card_has_its_template():
    assert "# {{ info.title }}" in resource("cards", "dataset.md.jinja").read_text()


def test_what_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="nothing.yaml"):
        resource("configs", "nothing.yaml")


@pytest.mark.parametrize("name", ["mets-small", "mets-small.yaml"])
def test_a_recipe_is_found_by_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(name) == resource("configs", "mets-small.yaml")
    (tmp_path / "mets-small").write_text("seed: 1")
    assert find_recipe("mets-small").read_text() == "seed: 1"  # a file of that name is meant


def test_a_recipe_that_is_not_there_is_named_beside_those_that_are():
    with pytest.raises(FileNotFoundError, match="'mets-smal', and no recipe .* c-melt-small, demo, mets-p"):
        find_recipe("mets-smal")
