"""The MIT-BIH Arrhythmia Database: configs `beats` and `rhythm`, splits `ds1`, `ds2` and `paced`.

    python dataset_scripts/mit_bih.py --source mitdb-1.0.0 --output corpora/mit-bih

The same as `mets-ecg build mit-bih`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/mit_bih.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "mit-bih", *sys.argv[1:]]))
