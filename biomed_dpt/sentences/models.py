"""Language models that draft sentences: an OpenAI-compatible endpoint, or a model of transformers on this computer."""

import os
from typing import TYPE_CHECKING, Any

from dassl.errors import InputError, first_line, shown

if TYPE_CHECKING:
    from biomed_dpt.sentences.drafting import Ask

KEY = "OPENAI_API_KEY"  # the environment variable with the key of the endpoint, if it needs one
SECONDS = 300  # for one answer


def endpoint(url: str, model: str) -> "Ask":
    """A model behind an OpenAI-compatible endpoint; requests go to <url>/chat/completions.

    Raises:
        InputError: no http address, httpx is missing, or (when it is asked) the endpoint fails or answers otherwise.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--endpoint {shown(url)}: name an address such as https://host/v1")
    try:
        import httpx
    except ImportError as error:
        raise InputError("--endpoint needs httpx: pip install -r requirements-write.txt") from error
    headers = {"Authorization": f"Bearer {os.environ[KEY]}"} if os.environ.get(KEY) else {}

    def ask(instruction: str, request: str) -> str:
        body = {"model": model, "messages": _messages(instruction, request)}
        try:
            answer = httpx.post(f"{url.rstrip('/')}/chat/completions", json=body, headers=headers, timeout=SECONDS)
            answer.raise_for_status()
            text = answer.json()["choices"][0]["message"]["content"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"the endpoint '{url}' gave no answer that can be used ({first_line(error)})") from error
        if not isinstance(text, str):
            raise InputError(f"the endpoint '{url}' answered with {shown(text)} instead of text")
        return text

    return ask


def local(name: str) -> "Ask":
    """A chat model of transformers, from a folder or the hub; it runs on this computer.

    Raises:
        InputError: it cannot be loaded.
    """
    from transformers import pipeline

    try:
        generate: Any = pipeline("text-generation", model=name)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"--local {shown(name)}: the model cannot be loaded ({first_line(error)})") from error

    def ask(instruction: str, request: str) -> str:
        if generate.tokenizer.chat_template:
            answer = generate(_messages(instruction, request), max_new_tokens=2048, return_full_text=False)
        else:
            answer = generate(f"{instruction}\n\n{request}\n", max_new_tokens=2048, return_full_text=False)
        return answer[0]["generated_text"]

    return ask


def _messages(instruction: str, request: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": instruction}, {"role": "user", "content": request}]
