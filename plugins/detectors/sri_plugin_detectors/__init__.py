"""First-party detectors.

    autoencoder    what harmless signals can be compressed to; needs no attack to train on

Scoring needs numpy only; fitting the autoencoder needs scikit-learn (`pip install "sri-sdk[train]"`).
"""
