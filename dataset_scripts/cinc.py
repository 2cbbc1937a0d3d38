"""The training sets of the PhysioNet/CinC Challenges 2020 and 2021: a split for each database.

    python dataset_scripts/cinc.py --source challenge-2021-1.0.3 --output corpora/cinc

The same as `mets-ecg build cinc`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/cinc.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "cinc", *sys.argv[1:]]))
