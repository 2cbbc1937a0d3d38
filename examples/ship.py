"""Make the checkpoint that comes with the package: half precision, the text encoder by reference, and its card.

    mets-ecg pretrain --config mets-small --source PTB-XL --train 1-8 --validation none --test none --output mets-small
    mets-ecg evaluate --model mets-small --source PTB-XL --task ptbxl-super --train none --test 9 --output table
    python examples/ship.py --model mets-small --table table/report.json --output src/mets_ecg/checkpoints/mets-small

The weights are stored in 16 bits and computed with in 32. `--table` is what the card says of it.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mets_ecg import ECGProcessor, ECGTextModel
from mets_ecg.hub.model_card import write_model_card

KEPT = ("config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="checkpoint of ECGTextModel")
    parser.add_argument("--table", required=True, type=Path, help="report.json of `mets-ecg evaluate --output`")
    parser.add_argument("--output", required=True, type=Path, help="folder")
    options = parser.parse_args()
    if options.output.exists() and any(options.output.iterdir()):
        parser.error(f"{str(options.output)!r} is not empty, and what is not part of a checkpoint is removed there")
    model = ECGTextModel.from_pretrained(options.model)
    model.save_pretrained(options.output, save_text_model=False)
    ECGProcessor.from_pretrained(options.model).save_pretrained(options.output)
    for path in options.output.iterdir():  # the package that it comes with has the code
        if path.name not in KEPT:
            path.unlink()
    weights = load_file(options.output / "model.safetensors")
    halved = {name: values.half() if values.dtype == torch.float32 else values for name, values in weights.items()}
    save_file(halved, options.output / "model.safetensors", metadata={"format": "pt"})

    metrics = json.loads((options.model / "metrics.json").read_text(encoding="utf-8"))
    report = json.loads(options.table.read_text(encoding="utf-8"))
    parts = {name: own | {"test": report["parts"][name]["test"]} for name, own in metrics["parts"].items()}
    metrics |= {"parts": parts, "test": {name: report[name] for name in ("task", "lines")}}
    (options.output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    arguments = (options.model / "training_args.yaml").read_text(encoding="utf-8")
    (options.output / "training_args.yaml").write_text(arguments, encoding="utf-8")
    write_model_card(options.output)
    for path in options.output.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    main()
