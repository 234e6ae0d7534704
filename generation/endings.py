"""What a word is without its ending, so that forms of one word are one; and texts as they compare.

`rings` and `ring`, `opened` and `opening`, `slowly` and `slow`, `began` and `begin` are one each.
Rules and a list of everyday English, rough on purpose: both sides of a comparison go through them.
What comes out is compared, and never shown.
"""

from __future__ import annotations

import re
import unicodedata

_FORMS = """
    become became, begin began begun, bend bent, bite bit bitten, blow blew blown, break broke
    broken, bring brought, build built, buy bought, catch caught, choose chose chosen, come
    came, dig dug, draw drew drawn, drink drank drunk, drive drove driven, eat ate eaten, fall
    fell fallen, feed fed, feel felt, fight fought, fly flew flown, forget forgot forgotten,
    freeze froze frozen, grow grew grown, hang hung, hide hid hidden, hold held, keep kept, lay
    laid, lend lent, light lit, lose lost, make made, mean meant, meet met, pay paid, ride rode
    ridden, ring rang rung, rise risen, run ran, sell sold, send sent, shine shone, sing sang
    sung, sink sank sunk, sit sat, sleep slept, speak spoke spoken, spend spent, stand stood,
    steal stole stolen, stick stuck, swim swam swum, take took taken, teach taught, tear tore
    torn, think thought, throw threw thrown, wake woke woken, wear wore worn, win won, child
    children, foot feet, goose geese, man men, mouse mice, person people, tooth teeth, wolf
    wolves, woman women
"""
# By a form that no ending tells the word that it is of; none that is a word of its own here: `left`
# is a place, `found` frames.
_IRREGULAR = {form: forms.split()[0] for forms in _FORMS.split(",") for form in forms.split()[1:]}
# And how many letters stay at least: `early` is no ear.
_ENDINGS = {"ing": 3, "edly": 3, "ed": 3, "ly": 4, "es": 3, "s": 3}
_LATIN = re.compile("[\u0300-\u036f]")


def folded(text: str) -> str:
    """In small letters, without accents, white space made one."""
    plain = _LATIN.sub("", unicodedata.normalize("NFKD", text)) if not text.isascii() else text
    return " ".join(plain.casefold().split())


def stem(word: str) -> str:
    """Without endings of number, tense and manner, roughly: `moves`, `moving`, `moved` are one."""
    low = folded(word).replace("\u2019", "'").removesuffix("'s").removesuffix("n't")
    low = _IRREGULAR.get(low, low)
    if len(low) > 4 and low.endswith("ies"):
        low = low[:-3] + "y"
    for ending, least in _ENDINGS.items():
        if low.endswith(ending) and len(low) - len(ending) >= least and not low.endswith("ss"):
            low = low.removesuffix(ending)
            break
    if len(low) > 3 and low[-1] == low[-2] and low[-1] not in "aeiosl":
        low = low[:-1]
    return low.removesuffix("e") if len(low) > 3 else low
