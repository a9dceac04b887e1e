"""Templates and sentences: how a class name is put in, and which texts a tokeniser can read."""

from dassl.errors import InputError

SLOT = "{}"


def filled(template: str, name: str) -> str:
    """A template with a class name in the place of its {}."""
    return template.replace(SLOT, name)


def template_problem(template: str) -> str:
    """What is wrong with a template, as the end of "… must …"; "" if nothing is."""
    if template.count(SLOT) != 1:
        return f"hold exactly one {SLOT}, the place of the class name"
    rest = template.replace(SLOT, "")
    return f"hold no braces but {SLOT}" if "{" in rest or "}" in rest else ""


def check_text(text: str, where: str) -> None:
    """Refuse a text without a character to read, and one that is not valid Unicode.

    Raises:
        InputError: begins with `where`.
    """
    if not text.strip():
        raise InputError(f"{where} is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{where} is no text in UTF-8; rename it")
