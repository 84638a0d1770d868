"""The exported artefact: files, manifest, golden vectors, signature, and the graphs drawn for it."""
