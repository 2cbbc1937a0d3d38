"""Shandong Provincial Hospital: 25,770 recordings in HDF5.

    python dataset_scripts/sph.py --source sph --output corpora/sph

The same as `mets-ecg build sph`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/sph.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "sph", *sys.argv[1:]]))
