"""Hypothesis profiles: the same few examples in every test run; new ones, and many, for `make fuzz`."""

from hypothesis import HealthCheck, settings

# No deadline and no check of speed: what measures time would fail on a busy machine.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("default", max_examples=60, derandomize=True, **_UNTIMED)
settings.register_profile("mutants", max_examples=25, derandomize=True, **_UNTIMED)
settings.register_profile("fuzz", max_examples=10_000, **_UNTIMED)
settings.load_profile("default")
