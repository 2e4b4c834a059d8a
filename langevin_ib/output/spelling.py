"""Transliteration for terminals of few characters: χ as chi, ± as +-."""

from __future__ import annotations

import codecs
import sys
import unicodedata

HANDLER = "langevin_ib.spelled"
SPELLED = {
    "−": "-", "–": "-", "—": "-", "±": "+-", "∓": "-+", "·": ".", "×": "x", "⊗": "x", "⊙": "*", "√": "sqrt ",
    "≤": "<=", "≥": ">=", "≫": ">>", "≪": "<<", "≠": "!=", "≈": "~", "∝": "~", "→": "->", "↦": "->", "←": "<-",
    "∂": "d", "∇": "grad ", "∫": "int ", "∈": " in ", "∞": "inf", "⟨": "<", "⟩": ">", "⌊": "[", "⌋": "]",
    "⋯": "...", "⁄": "/", "“": '"', "”": '"', "’": "'", "‘": "'",
}  # fmt: skip
UNKNOWN = "?"


def spell_out() -> None:
    """Let standard output and error transliterate characters that their encoding lacks, instead of failing."""
    codecs.register_error(HANDLER, _handle)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a substitute for it may lack the method, and take any text
        if reconfigure is not None:
            reconfigure(errors=HANDLER)


def fitting(text: str, encoding: str) -> str:
    """Text as a stream of this encoding shows it: with its final width, for tables.

    >>> fitting("dσ_S ± 1", "latin-1")
    'dsigma_S ± 1'
    """
    codecs.register_error(HANDLER, _handle)
    return text.encode(encoding, HANDLER).decode(encoding, "replace")


def spelled(text: str) -> str:
    """Text in ASCII.

    >>> spelled("χ = ½(|a|² − |b|²), e⁻¹⁰, T = 0.1 ± 0.02, Šidák")
    'chi = 1/2(|a|^2 - |b|^2), e^-10, T = 0.1 +- 0.02, Sidak'
    """
    out, raised = [], False
    for character in text:
        decomposed = unicodedata.decomposition(character)
        up = decomposed.startswith("<super>")
        out.append("^" * (up and not raised) + _spell_character(character))
        raised = up
    return "".join(out)


def _spell_character(character: str) -> str:
    if character.isascii():
        return character
    if character in SPELLED:
        return SPELLED[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):
        letter = name.partition("LETTER ")[2].split(" ")[0].replace("LAMDA", "LAMBDA")  # as Unicode spells it
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    if unicodedata.combining(character):
        return ""
    parts = unicodedata.normalize("NFKD", character)
    return UNKNOWN if parts == character else "".join(map(_spell_character, parts))


def _handle(error: UnicodeError) -> tuple[str | bytes, int]:
    """The codec's replacement of characters that it lacks; undecodable bytes of a file's name are kept."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if any("\udc80" <= character <= "\udcff" for character in text):
        return b"".join(
            character.encode("ascii", "surrogateescape")
            if "\udc80" <= character <= "\udcff"
            else _spell_character(character).encode()
            for character in text
        ), error.end
    return spelled(text), error.end
