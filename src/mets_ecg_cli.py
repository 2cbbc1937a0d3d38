"""The console script `mets-ecg`: which commands there are, and nothing of what they do.

Standard library only, so that `mets-ecg --help` answers at once: importing `mets_ecg` registers with
transformers and costs seconds. A command's own flags come from its dataclass, imported when that command is
called.
"""

from __future__ import annotations

import importlib
import sys

# name -> (module, arguments dataclass, function, one-line help, example)
COMMANDS = {
    "demo": (
        "mets_ecg.demo",
        "DemoArguments",
        "run_demo",
        "simulate recordings, pre-train METS on them, and ask a real recording a question",
        "mets-ecg demo --output demo-output",
    ),
    "simulate": (
        "mets_ecg.data.simulate",
        "SimulateArguments",
        "run_simulate",
        "write a corpus of simulated recordings with reports",
        "mets-ecg simulate --num-records 2000 --output simulated",
    ),
    "build": (
        "mets_ecg.data.build",
        "BuildArguments",
        "run_build",
        "make a corpus of a publisher's files: Parquet shards and a data-set card",
        "mets-ecg build ptb-xl --source ptb-xl-1.0.3 --output corpora/ptb-xl",
    ),
    "reports": (
        "mets_ecg.data.reports_coverage",
        "ReportsArguments",
        "run_reports",
        "print how much of a file of reports the English glossary covers",
        "mets-ecg reports --file ptbxl_database.csv --folds 1-8",
    ),
    "prepare": (
        "mets_ecg.data.prepare",
        "PrepareArguments",
        "run_prepare",
        "apply a model's processing to a corpus once, and write what the model reads",
        "mets-ecg prepare corpora/ptb-xl --model mets-small --output prepared/ptb-xl",
    ),
    "pretrain": (
        "mets_ecg.training.pretrain",
        "PretrainArguments",
        "run_pretrain",
        "align an ECG encoder with a text encoder on recordings and their reports",
        "mets-ecg pretrain --config examples/configs/mets-small.yaml --source ptb-xl --output mets-small",
    ),
    "evaluate": (
        "mets_ecg.evaluation.evaluate",
        "EvaluateArguments",
        "run_evaluate",
        "print a zero-shot table with intervals, beside a random encoder and a linear probe",
        "mets-ecg evaluate --model mets-small --task ptbxl-super --source ptb-xl --test-folds 9",
    ),
    "push": (
        "mets_ecg.hub.push",
        "PushArguments",
        "run_push",
        "push a corpus to the Hub",
        "mets-ecg push corpora/ptb-xl --repo-id org/ptb-xl",
    ),
}


def _usage() -> str:
    lines = ["usage: mets-ecg [--version] COMMAND [--help] [--debug] ...", "", "Ask an ECG a question in words.", ""]
    lines += ["commands:"] + [f"  {name:<10} {entry[3]}" for name, entry in COMMANDS.items()]
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
    module, arguments_type, function, _, example = COMMANDS[name]
    try:
        from mets_ecg.arguments import parse_arguments

        command = importlib.import_module(module)
        arguments = parse_arguments(
            getattr(command, arguments_type),
            [flag for flag in flags if flag != "--debug"],
            prog=f"mets-ecg {name}",
            example=example,
        )
        getattr(command, function)(arguments)
    except KeyboardInterrupt as stopped:
        print(f"mets-ecg {name}: stopped{f'; {stopped}' if str(stopped) else ''}", file=sys.stderr)
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


if __name__ == "__main__":
    sys.exit(main())
