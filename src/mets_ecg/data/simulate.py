"""The command `mets-ecg simulate`: a corpus of simulated recordings on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..arguments import argument
from .simulator import simulate_corpus


@dataclass
class SimulateArguments:
    """Write a corpus of simulated 12-lead recordings with reports, in the row that every corpus shares."""

    output: str = argument(help="folder of the corpus; `--data` of other commands reads it")
    num_records: int = argument(2000, help="recordings, each 10 s")
    sampling_rate: float = argument(100.0, help="Hz")
    held_out: list[str] = argument(default_factory=list, help="findings kept out of folds 1 to 8")
    seed: int = argument(0, help="of findings, signals and wording")
    num_proc: int | None = argument(None, help="processes")


def run_simulate(arguments: SimulateArguments) -> None:
    """Write the corpus.

    Raises:
        FileExistsError: the folder is there already and not empty.
        ValueError: an argument is out of range.
    """
    output = Path(arguments.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{arguments.output!r} is there already: name another folder, or remove it")
    corpus = simulate_corpus(
        arguments.num_records,
        seed=arguments.seed,
        sampling_rate=arguments.sampling_rate,
        held_out=arguments.held_out,
        num_proc=arguments.num_proc,
    )
    corpus.save_to_disk(output)
    print(f"{len(corpus)} simulated recordings at {arguments.sampling_rate:g} Hz, folds 1 to 10, are in {output}")
