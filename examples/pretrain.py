"""Pre-train METS under Accelerate.

    accelerate launch examples/pretrain.py --config examples/configs/mets-small.yaml --source ptb-xl --output mets-small

A quarter of an hour on 2 cores with that recipe. Prints the loss and the zero-shot AUROC of each epoch, and a table
on the test folds; leaves a checkpoint that `AutoModel.from_pretrained` loads. `mets-ecg pretrain` is the same
without the launcher.
"""

from mets_ecg.training.pretrain import run_pretrain
from mets_ecg_cli.parser import parse_arguments
from mets_ecg_cli.pretrain import PretrainArguments

if __name__ == "__main__":
    run_pretrain(parse_arguments(PretrainArguments))
