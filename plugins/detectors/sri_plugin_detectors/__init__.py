"""First-party detectors.

    autoencoder    rebuilds harmless signals through a bottleneck; needs no attack to train on
    logistic       one weight per cell; better with a few labelled attacks, works without

Scoring needs numpy only. Fitting the autoencoder, or `logistic` with labels, needs scikit-learn
(`pip install "sri-sdk[train]"`).
"""
