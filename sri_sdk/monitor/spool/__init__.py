"""The spool: observations on disk between a monitor and its sinks, until each sink has acknowledged them."""
