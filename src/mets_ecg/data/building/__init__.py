"""From publishers' files to a corpus in Parquet: download, shards, card."""
