"""The review: findings as a stream of images, and decisions on them that are never lost."""
