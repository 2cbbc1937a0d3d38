"""PTB-XL 1.0.1 to 1.0.3: configs `100hz` and `500hz`, splits by the official folds 1-8, 9 and 10.

    python dataset_scripts/ptb_xl.py --source ptb-xl-1.0.3 --output corpora/ptb-xl

The same as `mets-ecg build ptb-xl`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/ptb_xl.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "ptb-xl", *sys.argv[1:]]))
