"""Plugin for published guards that read texts: perplexity, self-examination, refusal phrases, safety classifiers."""
