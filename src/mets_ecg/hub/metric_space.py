"""The Space of one of the package's metrics: what `evaluate.load("org/name")` needs, a card, and a page to try it."""

from __future__ import annotations

from pathlib import Path

import evaluate
import jinja2

from mets_ecg_cli.resources import resource

from .model_card import THIS_REPOSITORY

_APP = f"""\
import evaluate
from evaluate.utils import launch_gradio_widget

launch_gradio_widget(evaluate.load("{THIS_REPOSITORY}"))
"""


def space_files(folder: Path) -> dict[str, bytes]:
    """Return what the Space of a metric has beside its modules: `README.md`, `app.py` and `requirements.txt`."""
    name = folder.resolve().name
    metric = evaluate.load(str(folder / f"{name}.py"))
    template = jinja2.Template(resource("cards", "metric.md.jinja").read_text(encoding="utf-8"))
    card = template.render(
        name=name,
        repo_id=THIS_REPOSITORY,
        description=metric.description.strip(),
        inputs=metric.inputs_description.strip(),
        evaluate_version=evaluate.__version__,
    )
    requirements = f"evaluate=={evaluate.__version__}\ndatasets\nnumpy\nscikit-learn\nscipy\n"
    return {"README.md": card.encode(), "app.py": _APP.encode(), "requirements.txt": requirements.encode()}
