"""The probe: a head fitted on the embeddings of a frozen backbone, calibrated, on features that are
computed once.
"""
