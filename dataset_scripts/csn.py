"""Chapman-Shaoxing-Ningbo: 45,152 recordings, exact labels beside the faulty ones that are in use.

    python dataset_scripts/csn.py --source ecg-arrhythmia-1.0.0 --output corpora/csn

The same as `mets-ecg build csn`; what the corpus is, and how it is read: `src/mets_ecg/data/corpora/csn.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "csn", *sys.argv[1:]]))
