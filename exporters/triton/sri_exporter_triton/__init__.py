"""Exporter `triton`: a guard as a model repository of NVIDIA Triton Inference Server.

A repository is made from a bundle and from nothing else, so it can also be made where it is served, from a bundle
whose signature was checked there: `python -m sri_exporter_triton write BUNDLE TARGET`. Needs no Triton to write.
"""
