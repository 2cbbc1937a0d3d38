"""Arguments of `mets-ecg evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class EvaluateArguments:
    """Print a zero-shot table with intervals, beside untrained encoders, a linear probe and the text oracle."""

    model: str = argument(help="checkpoint: a folder or a Hub id")
    task: str = argument("ptbxl-super", help="what to classify")
    source: str | None = argument(None, help="PTB-XL as PhysioNet publishes it, whole or partial")
    data: str | None = argument(
        None, help="a corpus: a folder that `mets-ecg build`, `simulate` or `prepare` wrote, or its id on the Hub"
    )
    config_name: str | None = argument(None, help="which version of --data; default by the model's sampling rate")
    streaming: bool = argument(False, help="read what `mets-ecg prepare` wrote shard by shard, without a copy on disk")
    test_folds: list[str] = argument(default_factory=lambda: ["10"], help="folds to measure on")
    probe_folds: list[str] = argument(
        default_factory=lambda: ["1-8"], help="folds to fit the linear probe on; none: no probe"
    )
    num_resamples: int = argument(1000, help="of the bootstrap over patients")
    seed: int = argument(0, help="of the bootstrap and the untrained encoders")
    num_proc: int | None = argument(None, help="processes that read and prepare recordings")
    output: str | None = argument(None, help="write the table as JSON to this file")
    json: bool = argument(False, help="print the table as JSON")
