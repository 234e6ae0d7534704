"""A multimodal prompt in, chunks of any modality out. Empty until there is evidence."""
