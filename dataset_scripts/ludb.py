"""The Lobachevsky University Database: 200 recordings of 10 s.

    python dataset_scripts/ludb.py --source ludb-1.0.1 --output corpora/ludb

The same as `mets-ecg build ludb`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/ludb.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "ludb", *sys.argv[1:]]))
