"""The console script `mets-ecg`: which commands there are, and nothing of what they do.

Importing `mets_ecg` registers with transformers and costs seconds. So a command's flags come from a dataclass in this
package, which needs the standard library and PyYAML alone: a wrong flag is said at once, and `mets_ecg` is imported
when the command runs.
"""

from __future__ import annotations

import importlib
import os
import sys

# name -> (module, function, one-line help, example). The arguments of `build` are `BuildArguments` in `build.py` here.
COMMANDS = {
    "demo": (
        "mets_ecg.demo",
        "run_demo",
        "simulate recordings, pre-train METS on them, and ask a real recording a question",
        "mets-ecg demo --output demo-output",
    ),
    "simulate": (
        "mets_ecg.data.simulator.simulate",
        "run_simulate",
        "write a corpus of simulated recordings with reports",
        "mets-ecg simulate --num-records 2000 --output simulated",
    ),
    "build": (
        "mets_ecg.data.building.build",
        "run_build",
        "make a corpus of a publisher's files, or of your own: Parquet shards and a data-set card",
        "mets-ecg build ptb-xl --source ptb-xl-1.0.3 --output corpora/ptb-xl",
    ),
    "reports": (
        "mets_ecg.data.reports.coverage",
        "run_reports",
        "print how much of a file of reports the English glossary covers",
        "mets-ecg reports --file ptbxl_database.csv --folds 1-8",
    ),
    "prepare": (
        "mets_ecg.data.prepare",
        "run_prepare",
        "apply a model's processing to a corpus once, and write what the model reads",
        "mets-ecg prepare corpora/ptb-xl --model mets-small --output prepared/ptb-xl",
    ),
    "pretrain": (
        "mets_ecg.training.pretrain",
        "run_pretrain",
        "align an ECG encoder with a text encoder on recordings and their reports",
        "mets-ecg pretrain --config mets-small --source ptb-xl --output mets-small",
    ),
    "finetune": (
        "mets_ecg.training.finetune",
        "run_finetune",
        "train a classifier on labels, from a pre-trained ECG encoder or from scratch",
        "mets-ecg finetune --model mets-small --source ptb-xl --task ptbxl-super --output mets-small-super",
    ),
    "evaluate": (
        "mets_ecg.evaluation.evaluate",
        "run_evaluate",
        "print a checkpoint's table on a task with intervals, and write a report",
        "mets-ecg evaluate --model mets-small --task ptbxl-super --source ptb-xl --test 9 --output report",
    ),
    "compare": (
        "mets_ecg.evaluation.compare",
        "run_compare",
        "compare two reports on the same records, by a paired bootstrap over patients",
        "mets-ecg compare report-of-one report-of-another",
    ),
    "probe": (
        "mets_ecg.evaluation.probe",
        "run_probe",
        "fit linear probes or prototypes on a frozen ECG encoder, with few or all labels",
        "mets-ecg probe --model mets-small --task ptbxl-super --source ptb-xl --shots 1 4 16",
    ),
    "retrieve": (
        "mets_ecg.evaluation.retrieval",
        "run_retrieve",
        "measure how well reports are found by recordings, and recordings by reports",
        "mets-ecg retrieve --model mets-small --source ptb-xl --test 9",
    ),
    "embed": (
        "mets_ecg.evaluation.embed",
        "run_embed",
        "write what a checkpoint makes of recordings as Parquet",
        "mets-ecg embed --model mets-small --source ptb-xl --output embeddings",
    ),
    "predict": (
        "mets_ecg.predict",
        "run_predict",
        "ask your own recordings in words, and print scores with remarks on them",
        'mets-ecg predict recording.hea --labels "atrial fibrillation" "normal ecg" --picture ecg.png',
    ),
    "plot": (
        "mets_ecg.plot",
        "run_plot",
        "draw recordings on clinical paper",
        "mets-ecg plot recording.hea --output ecg.png",
    ),
    "push": (
        "mets_ecg.hub.push",
        "run_push",
        "push a corpus or a checkpoint to the Hub",
        "mets-ecg push mets-small org/mets-ecg",
    ),
    "convert": (
        "mets_ecg.hub.convert",
        "run_convert",
        "make a checkpoint that others released one of this package's",
        "mets-ecg convert dbeta sample.pt d-beta",
    ),
    "export": (
        "mets_ecg.hub.export",
        "run_export",
        "write a checkpoint's encoders as ONNX",
        "mets-ecg export mets-small onnx",
    ),
}


def arguments_of(name: str) -> type:
    """Return the dataclass of a command's arguments."""
    return getattr(importlib.import_module(f"{__name__}.{name}"), f"{name.capitalize()}Arguments")


def _usage() -> str:
    lines = ["usage: mets-ecg [--version] COMMAND [--help] [--debug] ...", "", "Ask an ECG a question in words.", ""]
    lines += ["commands:"] + [f"  {name:<10} {entry[2]}" for name, entry in COMMANDS.items()]
    return "\n".join(
        [*lines, "", "`mets-ecg COMMAND --help` lists a command's flags. --debug shows the traceback of an error."]
    )


def main(argv: list[str] | None = None) -> int:
    """Run a command; return 0, 1 where it failed (the reason in one line), or 2 where it was called wrongly."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(f"mets-ecg {version('mets-ecg')}")
        return 0
    name, flags = argv[0], argv[1:]
    if name not in COMMANDS:
        print(f"mets-ecg: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    debug = "--debug" in flags
    module, function, _, example = COMMANDS[name]
    try:
        from .parser import parse_arguments

        flags = [flag for flag in flags if flag != "--debug"]
        arguments = parse_arguments(arguments_of(name), flags, prog=f"mets-ecg {name}", example=example)
        getattr(importlib.import_module(module), function)(arguments)
    except KeyboardInterrupt as stopped:
        print(f"mets-ecg {name}: stopped{f'; {stopped}' if str(stopped) else ''}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())
        if not reason or not isinstance(error, (ValueError, TypeError, OSError, ImportError, RuntimeError)):
            reason = f"{type(error).__name__}: {reason}"  # a KeyError says no more than the key
        print(f"mets-ecg {name}: {reason}", file=sys.stderr)
        return 1
    return 0
