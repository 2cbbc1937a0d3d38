"""What a frozen encoder knows, without words: `mets-ecg probe`, and the line of `mets-ecg evaluate`.

Linear: a logistic regression a class on pooled output. Prototypes: the mean of a few recordings of a class in the space
that texts share. Recordings are encoded once. Beside each stands the same on an untrained encoder of the architecture,
which comes close on some tasks. Beside a zero-shot figure a probe says whether the encoder or the words limit it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mets_ecg_cli.probe import ProbeArguments

from .checkpoints import Checkpoint
from .encoding import EncodedECGs, encode_ecgs, with_random_ecg_encoder
from .labels import TaskLabels, draw_patients, load_labels
from .statistics import AUROC, auroc, bootstrap_auroc, macro_average, plain_values
from .tasks import get_task

# scikit-learn's `C`, inverse of the L2 penalty; the last is enough for a few hundred features.
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0)


def linear_probe(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray, *, strength: float = 0.1
) -> np.ndarray:
    """Fit one logistic regression a class on standardised features; return probabilities `(test records, classes)`.

    Args:
        train_features: `(training records, features)`.
        train_labels: bool `(training records, classes)`.
        test_features: `(test records, features)`.
        strength: scikit-learn's `C`, inverse of the L2 penalty; fixed beforehand and never chosen on the test records.
    """
    return _fit(train_features, train_labels, [test_features], (strength,))[0][0]


def chosen_linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    validation_features: np.ndarray,
    validation_labels: np.ndarray,
    test_features: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return probabilities `(test records, classes)` by the strength of highest validation macro AUROC, and it.

    Args:
        train_features: `(training records, features)`.
        train_labels: bool `(training records, classes)`.
        validation_features: `(validation records, features)`.
        validation_labels: bool `(validation records, classes)`.
        test_features: `(test records, features)`.
    """
    fitted = _fit(train_features, train_labels, [validation_features, test_features], STRENGTHS)
    macros = [macro_average(auroc(validation_labels, validation)) for validation, _ in fitted]
    best = int(np.nanargmax(macros))
    return fitted[best][1], STRENGTHS[best]


def _fit(train_features, train_labels, others: Sequence[np.ndarray], strengths: Sequence[float]):
    """Return for each strength, for each of the others, probabilities `(records, classes)`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train_features)
    train, *others = (scaler.transform(own) for own in (train_features, *others))
    num_classes = train_labels.shape[1]
    fitted = [[np.full((len(own), num_classes), 0.5) for own in others] for _ in strengths]
    for c, labels in enumerate(train_labels.T):
        if labels.all() or not labels.any():
            continue  # nothing to learn from: the probe knows nothing of this class
        classifier = LogisticRegression(max_iter=1000, warm_start=True)  # from a strong penalty to a weak one
        for strength, scores in zip(strengths, fitted, strict=True):
            classifier.set_params(C=strength).fit(train, labels)
            for own, out in zip(others, scores, strict=True):
                out[:, c] = classifier.predict_proba(own)[:, 1]
    return fitted


def prototype_scores(
    train_vectors: np.ndarray,
    train_labels: np.ndarray,
    test_vectors: np.ndarray,
    shots: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return cosines `(test records, classes)` with the mean vector of a few training records of each class.

    Vectors are taken less the mean of the training records, which needs no label. A class with fewer records gives all
    it has; one without any scores 0.

    Args:
        train_vectors: `(training records, features)`.
        train_labels: bool `(training records, classes)`.
        test_vectors: `(test records, features)`.
        shots: training records of each class.
        generator: draws them.
    """
    centre = train_vectors.mean(axis=0)

    def directions(vectors: np.ndarray) -> np.ndarray:
        vectors = vectors - centre
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    scores = np.zeros((len(test_vectors), train_labels.shape[1]))
    train, test = directions(train_vectors), directions(test_vectors)
    for c, labels in enumerate(train_labels.T):
        drawn = generator.permutation(np.flatnonzero(labels))[:shots]
        if len(drawn):
            mean = train[drawn].mean(axis=0)
            scores[:, c] = test @ (mean / max(np.linalg.norm(mean), 1e-12))
    return scores


@dataclass(frozen=True)
class ProbeLine:
    """Figures of one way of fitting, over its draws.

    Attributes:
        name: of the way.
        num_draws: number of draws.
        num_records: mean number of training records.
        auroc, untrained: of the checkpoint's encoder and of an untrained one: the means over draws of AUROC and of the
            ends of its interval over test patients.
        draws, untrained_draws: macro AUROC of each draw.
        strengths: what validation chose in each draw, for the checkpoint's encoder; none for prototypes.
    """

    name: str
    num_draws: int
    num_records: float
    auroc: AUROC
    untrained: AUROC
    draws: list[float]
    untrained_draws: list[float]
    strengths: list[float]


def run_probe(arguments: ProbeArguments) -> dict:
    """Fit probes on a checkpoint's frozen encoder and print their table.

    Returns:
        What `--json` prints.

    Raises:
        ValueError: there is no training, test or (for linear probes) validation part, or parts share patients.
    """
    task = get_task(arguments.task)
    checkpoint = Checkpoint.open(arguments.model)
    parts = checkpoint.load_rows(arguments, ("train", "validation", "test"), task)
    needed = {"train": True, "validation": bool(arguments.fractions)}
    for part, why in (("train", "to fit on"), ("validation", "to choose the penalty of linear probes on")):
        if needed[part] and getattr(parts, part) is None:
            raise ValueError(f"there is nothing {why}: name a part by --{part}")
    seen = checkpoint.check_seen(parts, refuse=arguments.refuse_seen)
    model = checkpoint.load_model()
    untrained = with_random_ecg_encoder(model, arguments.seed)
    labels: dict[str, TaskLabels] = {}
    encoded: dict[str, list[EncodedECGs]] = {}
    for part in ("train", "validation", "test"):
        rows = getattr(parts, part)
        if rows is not None:
            labels[part] = load_labels(rows, task)
            encoded[part] = encode_ecgs([model, untrained], rows.select(labels[part].rows), progress=True)
    lines = []

    def measure(name: str, draws: Sequence, fit: Callable) -> None:
        """Fit each draw on both encoders; `fit(features by part, draw)` gives test scores and the strength."""
        found, strengths = ([], []), []
        for draw in draws:
            for which, out in enumerate(found):
                scores, strength = fit({part: own[which] for part, own in encoded.items()}, draw)
                out.append(_bootstrap(labels["test"], scores, arguments))
                if which == 0 and strength is not None:
                    strengths.append(strength)
        sizes = [draw[1] for draw in draws]
        macros = [[own.macro for own in out] for out in found]
        means = [_mean(out) for out in found]
        lines.append(ProbeLine(name, len(draws), float(np.mean(sizes)), *means, *macros, strengths))

    def linear(features: dict[str, EncodedECGs], draw) -> tuple[np.ndarray, float]:
        rows = draw[0]
        pooled = {part: own.pooled.numpy() for part, own in features.items()}
        return chosen_linear_probe(
            pooled["train"][rows],
            labels["train"].labels[rows],
            pooled["validation"],
            labels["validation"].labels,
            pooled["test"],
        )

    def prototypes(features: dict[str, EncodedECGs], draw) -> tuple[np.ndarray, None]:
        shots, _, i = draw
        vectors = {
            part: (own.pooled if checkpoint.classifies else own.outputs).numpy() for part, own in features.items()
        }
        generator = np.random.default_rng([arguments.seed, shots, i])
        train = labels["train"].labels
        return prototype_scores(vectors["train"], train, vectors["test"], shots, generator), None

    for fraction in arguments.fractions:
        count = 1 if fraction == 1 else arguments.num_draws
        drawn = [draw_patients(labels["train"], fraction, [arguments.seed, i]) for i in range(count)]
        measure(f"linear, {fraction:.4g} of the patients", [(rows, len(rows)) for rows in drawn], linear)
    for shots in arguments.shots:
        size = float(np.minimum(labels["train"].labels.sum(axis=0), shots).sum())
        draws = [(shots, size, i) for i in range(arguments.num_draws)]
        measure(f"prototypes of {shots}", draws, prototypes)
    document = {
        "model": arguments.model,
        "task": task.name,
        "parts": parts.words,
        "seen": seen,
        "leads": arguments.leads,
        "seed": arguments.seed,
        "records_fingerprint": labels["test"].fingerprint,
        "classes": list(task.classes),
        "lines": [plain_values(asdict(line)) for line in lines],
    }
    text = _format(task.name, labels["test"], lines)
    print(json.dumps(document, indent=2) if arguments.json else text)
    if arguments.output is not None:
        Path(arguments.output).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        Path(arguments.output).with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    return document


def _bootstrap(labels: TaskLabels, scores: np.ndarray, arguments: ProbeArguments) -> AUROC:
    return bootstrap_auroc(
        labels.labels, scores, labels.patients, num_resamples=arguments.num_resamples, seed=arguments.seed
    )


def _mean(found: Sequence[AUROC]) -> AUROC:
    """Return the mean of each figure over draws; what does not depend on a draw is the same in all."""
    fields = {name: np.mean([getattr(own, name) for own in found], axis=0) for name in asdict(found[0])}
    return AUROC(**fields)


def _format(task: str, labels: TaskLabels, lines: Sequence[ProbeLine]) -> str:
    """Return a Markdown table."""

    def cell(figures: AUROC, draws: Sequence[float]) -> str:
        spread = f"; draws {min(draws):.3f} to {max(draws):.3f}" if len(draws) > 1 else ""
        return f"{figures.macro:.3f} ({figures.macro_low:.3f} to {figures.macro_high:.3f}{spread})"

    first = lines[0].auroc
    rows = [
        f"{task}: macro AUROC of {len(labels.rows)} records of {int(first.num_patients)} patients "
        f"({first.confidence:.0%} intervals over patients, mean over draws)",
        "",
        "| | training records | the encoder | untrained encoder |",
        "| --- | --- | --- | --- |",
    ]
    for line in lines:
        own, other = cell(line.auroc, line.draws), cell(line.untrained, line.untrained_draws)
        rows.append(f"| {line.name} | {line.num_records:.0f} | {own} | {other} |")
    return "\n".join(rows)
