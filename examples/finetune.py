"""Fine-tune a checkpoint's ECG encoder under Accelerate, or train one from scratch without --model.

    accelerate launch examples/finetune.py --model mets-small --source ptb-xl --task ptbxl-super --output super

Leaves a classifier that `AutoModelForSequenceClassification.from_pretrained` and `pipeline("ecg-classification")` load.
`mets-ecg finetune` is the same without the launcher.
"""

from mets_ecg.training.finetune import run_finetune
from mets_ecg_cli.finetune import FinetuneArguments
from mets_ecg_cli.parser import parse_arguments

if __name__ == "__main__":
    run_finetune(parse_arguments(FinetuneArguments))
