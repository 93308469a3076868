"""The steps that verbs share, in the order in which data meets them.

request ─▶ data ─▶ findings ─▶ probe ─▶ gradient ─▶ ship ─▶ record ─▶ run
"""
