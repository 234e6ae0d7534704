"""A multimodal prompt in, chunks of any modality out."""
