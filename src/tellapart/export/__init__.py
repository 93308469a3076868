"""Network → graph, graph → model file, and the gate in between.

It needs onnx; what is in the cache needs no torch.
"""
