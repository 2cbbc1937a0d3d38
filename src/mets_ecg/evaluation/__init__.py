"""Evaluation: tasks and their class descriptions, zero-shot tables, the linear probe, and their statistics."""
