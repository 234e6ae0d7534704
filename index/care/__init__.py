"""Whole or not: verification and repair, snapshots and their return."""
