"""Lists on the command line, separated by commas or spaces."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words(text))
