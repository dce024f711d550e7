"""The words of the digits data set: a number written out in ten languages, in phrases, with typing errors.

No phrase names another digit: neither its carrier words, nor what a typing error makes of them (`digits_named`).
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

NUMBERS = {
    "en": "zero one two three four five six seven eight nine",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "pt": "zero um dois três quatro cinco seis sete oito nove",
    "nl": "nul een twee drie vier vijf zes zeven acht negen",
    "pl": "zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć",
    "tr": "sıfır bir iki üç dört beş altı yedi sekiz dokuz",
    "sw": "sifuri moja mbili tatu nne tano sita saba nane tisa",
}
"""Language to its words for 0 to 9."""

# Articles such as "un", "eine" and "um" are missing on purpose: they are the word for 1.
PHRASES = {
    "en": ("{}", "{}", "the answer is {}", "gate {}, please", "press {} now", "it says {}"),
    "de": ("{}", "{}", "die Antwort ist {}", "Gleis {}, bitte", "bitte die {} wählen", "da steht {}"),
    "fr": ("{}", "{}", "la réponse est {}", "porte {}, merci", "tapez {}", "je vois le {}"),
    "es": ("{}", "{}", "la respuesta es {}", "puerta {}, por favor", "marque el {}", "aquí dice {}"),
    "it": ("{}", "{}", "la risposta è {}", "binario {}, grazie", "premi il numero {}", "qui c'è scritto {}"),
    "pt": ("{}", "{}", "a resposta é {}", "porta {}, por favor", "tecle {} agora", "aqui diz {}"),
    "nl": ("{}", "{}", "het antwoord is {}", "spoor {}, graag", "toets nu {}", "hier staat {}"),
    "pl": ("{}", "{}", "odpowiedź to {}", "peron {}, proszę", "naciśnij {}", "tu jest {}"),
    "tr": ("{}", "{}", "cevap {}", "kapı {}, lütfen", "şimdi {} tuşla", "burada {} yazıyor"),
    "sw": ("{}", "{}", "jibu ni {}", "lango la {}, tafadhali", "bonyeza {} sasa", "hapa ni {}"),
}
"""Language to its phrasings; `{}` is the number."""

VAGUE = (
    "the number in the picture",
    "what the tone says",
    "die Zahl auf dem Bild",
    "le chiffre sur la photo",
    "la cifra que suena",
    "il numero che senti",
    "o número na imagem",
    "het getal op de foto",
    "cyfra na obrazku",
    "resimdeki rakam",
    "tarakimu kwenye picha",
    "as shown",
    "siehe Bild",
    "voir la photo",
)
"""Poor words that name no digit at all."""

HINTS = (
    ("not odd, I think", "gerade, glaube ich", "c'est pair", "es par", "è pari", "chyba parzysta"),
    ("odd, I think", "ungerade, glaube ich", "impair, je crois", "es impar", "è dispari", "chyba nieparzysta"),
)
"""Poor words that tell an even number (first) from an odd one (second), and no more."""

VAGUE_SHARE = 0.35
"""Of the poor phrases: naming nothing. The rest are hints, and words full of typing errors."""
HINT_SHARE = 0.20
CLEAR_ERRORS = (0.70, 0.25, 0.05)
"""Chances of 0, 1, 2 typing errors in a clear phrase."""
POOR_ERRORS = (3, 4)
"""Fewest and most typing errors in the number of a poor phrase that still names it."""
_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def write_words(digit: int, *, poor: bool, rng: np.random.Generator) -> str:
    """A phrase that names this digit, or, when poor, one that barely does or does not; never one that names another."""
    if poor:
        kind = rng.random()
        if kind < VAGUE_SHARE:
            return VAGUE[rng.integers(len(VAGUE))]
        if kind < VAGUE_SHARE + HINT_SHARE:
            hints = HINTS[digit % 2]
            return hints[rng.integers(len(hints))]
    language = tuple(NUMBERS)[rng.integers(len(NUMBERS))]
    phrases = PHRASES[language]
    phrase = phrases[rng.integers(len(phrases))]
    number = NUMBERS[language].split()[digit]
    while True:
        if poor:
            errors = int(rng.integers(POOR_ERRORS[0], POOR_ERRORS[1] + 1))
        else:
            errors = int(rng.choice(len(CLEAR_ERRORS), p=CLEAR_ERRORS))
        written = mistype(number, errors, rng)
        text = _change_case(phrase.format(written), rng)
        if digits_named(text) <= {digit} and not (poor and written == number):  # errors can undo each other
            return text


def mistype(word: str, errors: int, rng: np.random.Generator) -> str:
    """The word with that many typing errors: two letters swapped, one dropped, one doubled, or a neighbouring key.

    At least two characters stay.
    """
    for _ in range(errors):
        at = int(rng.integers(len(word)))
        kind = rng.integers(4)
        if kind == 0 and at + 1 < len(word):
            word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        elif kind == 1 and len(word) > 2:
            word = word[:at] + word[at + 1 :]
        elif kind == 2:
            word = word[: at + 1] + word[at:]
        else:
            word = word[:at] + _neighbour(word[at], rng) + word[at + 1 :]
    return word


def digits_named(text: str) -> set[int]:
    """The digits that a text names in any of the languages; case and accents do not count."""
    words = "".join(c if c.isalpha() else " " for c in _fold(text)).split()
    return {digit for word in words for digit in _meanings().get(word, ())}


@cache
def _meanings() -> dict[str, frozenset[int]]:
    meanings: dict[str, frozenset[int]] = {}
    for words in NUMBERS.values():
        for digit, word in enumerate(words.split()):
            folded = _fold(word)
            meanings[folded] = meanings.get(folded, frozenset()) | {digit}
    return meanings


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("ı", "i").replace("ł", "l"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _neighbour(letter: str, rng: np.random.Generator) -> str:
    """The key to the left or right of a letter's (QWERTY; an accented letter lies where its plain one does)."""
    plain = _fold(letter)
    for row in _KEY_ROWS:
        at = row.find(plain)
        if at >= 0:
            near = row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
            return near[rng.integers(len(near))]
    return letter


def _change_case(text: str, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.2:
        return text[:1].upper() + text[1:]
    return text.upper() if kind < 0.3 else text
