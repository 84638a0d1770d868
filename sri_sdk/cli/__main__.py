"""`python -m sri_sdk.cli`: the same as `sri`, where scripts are not on the PATH."""

from sri_sdk.cli import main

main(prog_name="sri")
