"""What a plan needs to know of the registered methods and data sets."""


def untrained_methods() -> frozenset[str]:
    """The methods that learn nothing, whose numbers do not depend on shots and seed."""
    import configs  # noqa: F401 - registers the methods
    from dassl.engine import TRAINER_REGISTRY

    names = TRAINER_REGISTRY.registered_names()
    return frozenset(name for name in names if getattr(TRAINER_REGISTRY.get(name), "numbers", None) == 0)


def paper_datasets() -> tuple[str, ...]:
    """The data sets of the paper."""
    from configs import available_datasets

    return tuple(name for name in available_datasets() if name != "phantom")
