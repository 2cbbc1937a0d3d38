"""CPSC2018 as the challenge published it, MATLAB structs.

    python dataset_scripts/cpsc2018.py --source cpsc2018 --output corpora/cpsc2018

The same as `mets-ecg build cpsc2018`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/cpsc2018.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "cpsc2018", *sys.argv[1:]]))
