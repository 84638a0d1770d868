"""The real gateways and frameworks in front of the embedded model: `make gateways`."""
