"""Corpora: the row they share, the readers of publishers' layouts, the simulator, report text and statements."""
