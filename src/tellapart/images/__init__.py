"""Images as tensors: kept decoded, augmented, batched. Needs torch."""
