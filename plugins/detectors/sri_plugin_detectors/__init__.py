"""First-party detectors.

    autoencoder          rebuilds harmless signals through a bottleneck; needs no attack to train on
    few-label            one weight per cell, from 5 to 100 labelled attacks and not without them
    logistic             one weight per cell; better with a few labelled attacks, works without
    request              what the request says, whatever the model answers
    mahalanobis          distance from the usual signal, given how harmless ones vary
    nearest-neighbours   distance to the harmless signals that are most alike
    gaussian-mixture     how unlikely a signal is under a density fitted to harmless ones
    one-class-svm        how far outside a boundary around most harmless ones
    isolation-forest     how few random cuts separate a signal from harmless ones
    hesitation           how many cells are low, and how often the signal turns

Scoring needs numpy only. Fitting needs scikit-learn (`pip install "sri-sdk[train]"`), except for `logistic` without
labels, `request`, `nearest-neighbours` and `hesitation`.
"""
