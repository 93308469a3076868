"""Networks: timm's and our own, their weights, loaded safely, their heads and stages. Needs
torch.
"""
