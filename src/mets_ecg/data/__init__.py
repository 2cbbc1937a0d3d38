"""Corpora: the row they share, readers of publishers' layouts, the simulator, report text and statements.

And what training and evaluation read: rows prepared once, and texts encoded once.
"""
