"""Simulated recordings with reports: waves, findings, phrases."""
