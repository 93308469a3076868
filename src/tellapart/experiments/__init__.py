"""What one training cannot tell: several settings, folds and backbones, each measured in the same
way.
"""
