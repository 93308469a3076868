"""Network → graph, graph → model file, and the gate in between. Needs torch or onnx, but for what
is kept.
"""
