"""Networks: timm's, our own and the user's; their weights, heads and stages. Needs torch."""
