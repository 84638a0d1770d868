"""From a config to a guard: prompts, anchors, signals, detector, thresholds, bundle."""
