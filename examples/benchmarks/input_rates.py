"""How fast recordings become model input, and how long one question about one recording takes.

    pip install --target nk --no-deps neurokit2 PyWavelets
    PYTHONPATH=nk python examples/benchmarks/input_rates.py
    python examples/benchmarks/input_rates.py --only latency --model mets-small

What is compared runs in turn, in several rounds; a ratio is the median over the rounds. Parts:

- `preparing`: 12-lead recordings of 10 s at 500 Hz, as rows of a simulated corpus, to model input at 100 Hz, with the
  feature extractor of `mets-small` (no filter) and with the default band-pass. `mets_ecg.data.prepare.prepare` in two
  processes is compared with SciPy, one recording after the other in one process (the same Butterworth by `sosfiltfilt`,
  where there is one, and `resample_poly`), and beside NeuroKit2, lead after lead (`ecg_clean`, which always filters,
  and `signal_resample` by `--neurokit-method`). Both begin from arrays in millivolts in memory, and SciPy a second time
  from the corpus' rows, as `prepare` does. Without NeuroKit2 its rows are left out.
- `latency`: a WFDB record at 500 Hz to the scores of 5 labels, by a warm pipeline that is called for each record:
  median, 95th percentile, and where the time goes (the same parts, called one by one).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import torch
from measuring import in_turn, make_parser, no_progress_bars, ratios, result_row, show, write
from scipy.signal import butter, resample_poly, sosfiltfilt
from transformers import pipeline

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.prepare import prepare
from mets_ecg.data.simulator.corpus import simulate_corpus
from mets_ecg.recordings import read_recording
from mets_ecg.signals import decode_signal
from mets_ecg_cli.parser import read_yaml
from mets_ecg_cli.resources import find_recipe

try:
    import neurokit2
except ImportError:
    neurokit2 = None

CHECKOUT = Path(__file__).parents[2]
RATE, TARGET_RATE = 500, 100
LABELS = [
    "left bundle branch block",
    "right bundle branch block",
    "normal ecg",
    "atrial fibrillation",
    "old anterior infarct",
]


def by_scipy(signal: np.ndarray, sections: np.ndarray | None) -> np.ndarray:
    """Filter and resample one recording `(leads, samples)`."""
    if sections is not None:
        signal = sosfiltfilt(sections, signal, axis=1)
    return resample_poly(signal, 1, RATE // TARGET_RATE, axis=1).astype(np.float32)


def by_neurokit(signal: np.ndarray, method: str) -> np.ndarray:
    """Clean and resample one recording, lead after lead."""
    leads = []
    for lead in signal:
        cleaned = neurokit2.ecg_clean(lead, sampling_rate=RATE)
        rates = {"sampling_rate": RATE, "desired_sampling_rate": TARGET_RATE}
        leads.append(neurokit2.signal_resample(cleaned, method=method, **rates))
    return np.stack(leads).astype(np.float32)


def rate_of(work: Callable[[object], object], recordings) -> float:
    """Recordings/s of work that is done on one after the other."""
    started = time.perf_counter()
    for recording in recordings:
        work(recording)
    return len(recordings) / (time.perf_counter() - started)


def measure_preparing(options: argparse.Namespace, folder: Path) -> list[dict]:
    corpus = simulate_corpus(options.num_records, sampling_rate=RATE, cache_dir=folder, num_proc=options.num_proc)
    datasets.disable_caching()  # each round prepares anew
    rows = corpus.with_format("numpy")
    few = rows.select(range(min(len(rows), options.num_records // 4)))
    arrays = [decode_signal(row).astype(np.float64) for row in few]
    arrays_of_neurokit = arrays[: max(1, options.num_records // 20)]
    recipe = read_yaml(find_recipe("mets-small"))["feature_extractor"]
    extractors = {
        "no filter": ECGFeatureExtractor(**recipe),
        "band-pass": ECGFeatureExtractor(sampling_rate=TARGET_RATE),
    }
    results = []
    for name, extractor in extractors.items():
        sections = None
        if extractor.bandpass is not None:
            sections = butter(extractor.filter_order, extractor.bandpass, "bandpass", fs=RATE, output="sos")

        def prepare_all(extractor=extractor) -> float:
            started = time.perf_counter()
            prepared = prepare(corpus, extractor, num_proc=options.num_proc)
            return len(prepared) / (time.perf_counter() - started)

        work = {
            f"prepare, {options.num_proc} processes": prepare_all,
            "SciPy, 1 process, arrays": lambda s=sections: rate_of(lambda signal: by_scipy(signal, s), arrays),
            "SciPy, 1 process, rows": lambda s=sections: rate_of(lambda one: by_scipy(decode_signal(one), s), few),
        }
        goals = {"SciPy, 1 process, arrays": 1.8, "SciPy, 1 process, rows": 1.8}
        if neurokit2 is not None:
            what = f"NeuroKit2 {neurokit2.__version__} ({options.neurokit_method}), 1 process, arrays"
            work[what] = lambda: rate_of(lambda a: by_neurokit(a, options.neurokit_method), arrays_of_neurokit)
            goals[what] = 5.0
        rates = in_turn(work, options.rounds)
        first = next(iter(work))
        results += [result_row(f"{name}: {own}", rates[own], "records/s") for own in work]
        for own, goal in goals.items():
            row = result_row(f"{name}: prepare / {own}", ratios(rates[first], rates[own]), "", at_least=goal)
            results.append(row)
    if neurokit2 is None:
        print("NeuroKit2 is not installed: its rows are left out (the command is in this file's docstring)")
    return results


@torch.inference_mode()
def measure_latency(options: argparse.Namespace, folder: Path) -> list[dict]:
    classifier = pipeline("zero-shot-classification", model=str(options.model))
    extractor, model = classifier.feature_extractor, classifier.model
    names = ("call", "reading", "feature extraction", "model")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for k in range(-20, options.calls):  # the first 20 are not counted
        times = [time.perf_counter()]
        classifier(options.record, candidate_labels=LABELS)
        times.append(time.perf_counter())
        recording = read_recording(options.record, default_leads=extractor.lead_names)
        times.append(time.perf_counter())
        inputs = {name: torch.from_numpy(own) for name, own in extractor.batch(extractor.windows(recording)).items()}
        times.append(time.perf_counter())
        if inputs["ecg_attention_mask"].all():
            inputs["ecg_attention_mask"] = None  # as the pipeline does
        model.get_ecg_features(**inputs)
        times.append(time.perf_counter())
        if k >= 0:
            for name, own in zip(names, np.diff(times), strict=True):
                seconds[name].append(1000 * own)
    call, *parts = (statistics.median(own) for own in seconds.values())
    results = [
        result_row("one record to scores, by the pipeline", seconds["call"], "ms", below=20),
        result_row("95th percentile of the same", [float(np.percentile(seconds["call"], 95))], "ms"),
    ]
    results += [result_row(f"of it {name}", seconds[name], "ms") for name in names[1:]]
    return [*results, result_row("of it the rest (pipeline, labels, scores)", [call - sum(parts)], "ms")]


PARTS = {"preparing": measure_preparing, "latency": measure_latency}


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--num-records", type=int, default=2000, help="that are prepared; the others take fewer")
    parser.add_argument("--num-proc", type=int, default=2, help="of prepare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--neurokit-method", default="poly", help="of nk.signal_resample")
    parser.add_argument("--model", default=CHECKOUT / "tests/fixtures/tiny-checkpoint", help="a checkpoint")
    record = CHECKOUT / "tests/fixtures/ptb-xl/records500/00000/00338_hr"
    parser.add_argument("--record", default=str(record), help="a WFDB record at 500 Hz, without its suffix")
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    no_progress_bars()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            started = time.perf_counter()
            results[name] = PARTS[name](options, Path(folder))
            show(results[name])
            print(f"{name}: {time.perf_counter() - started:.0f} s")
    write(options.output, {"model": str(options.model), "num_proc": options.num_proc, "parts": results})


if __name__ == "__main__":
    main()
