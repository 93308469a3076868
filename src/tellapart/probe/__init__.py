"""The probe: a calibrated head, fitted on the embeddings of a frozen backbone.

The embeddings are computed once, and kept.
"""
