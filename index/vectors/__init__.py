"""Engines that hold vectors in memory and in files of their own: exact, and FAISS."""
