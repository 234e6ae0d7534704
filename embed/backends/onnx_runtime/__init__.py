"""Towers as ONNX graphs: exported once, run without torch."""
