"""A monitor at full speed for long: memory and handles flat, and every generation accounted for."""
