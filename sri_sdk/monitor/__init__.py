"""The monitor: a deployment that is watched for as long as it runs."""
