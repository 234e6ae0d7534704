"""Towers of open_clip: CLIP, SigLIP, CoCa, EVA and their kin."""
