"""Pretrained networks: timm backbones and their weights, loaded safely. Needs torch."""
