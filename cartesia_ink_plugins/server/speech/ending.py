"""How much a pause sounds like the end of a turn: the words as an answer, and the voice.

Pure. A small logistic model, calibrated on spoken turns with planted pauses, weighs what Whisper
would write after the last word, smart-turn's opinion of the voice, and what kind of words the turn
stops with. Its weights stand in `ending_weights.json`; `benchmarks/end_of_turn_fit.py` makes them.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cartesia_ink_plugins.server.speech.whisper import After

_WORD = re.compile(r"[a-z0-9']+")
# After these something must come: articles, conjunctions, fillers, contractions.
_NEVER_LAST = frozenset(
    """
    a an the my your our their his her its these those every each some
    and but or because if than as when while where so which who whether unless until
    i'm i'd i'll i've it's that's we're we'd we'll we've he's she's they're you're you'd there's
    let's um uh er erm hmm hm mm ah eh
    """.split()
)
# After these too, unless they repeat what was asked ("Yes, I did") or are what is asked for ("How
# many can I take?"): auxiliaries, and verbs of which nobody leaves out the object.
_VERBS = frozenset(
    """
    is are was were be am will would can could should must may might do does did has have had been
    need want prefer needed get make take put bring told looking wondering visited
    """.split()
)
_BELIEVING = frozenset("think hope guess believe suppose say said".split())
# After these a "that" begins a clause; after others it is a thing: "repeat that".
_BEFORE_THAT = _BELIEVING | frozenset("is was told know me us him her sure feel thought".split())
# After these too, but a question may end with them ("Who is it for?"), if it asks for a thing.
_PREPOSITIONS = frozenset(
    "for to at from with into of by about under between through via near like behind in on".split()
)
_ASKING = frozenset("who what where which whose how when why".split())
# After these too, but a question may end with them: "where are they".
_SUBJECTS = frozenset("i we he she they there".split())
# "Turn it on", "come in": here the preposition belongs to the verb.
_WITH_PARTICLE = frozenset("turn switch come log check sign hold go move it them this that".split())
# After these verbs a person is not what is given: "you sent me", "can you tell us".
_GIVING = frozenset("send sent give gave tell told show showed bring brought sold lend".split())
_PERSONS = frozenset("me us him her them you".split())
# What a speaker says who is about to say something, and what is by itself an answer of it.
_OPENERS = frozenset(
    """
    um uh er erm hmm hm mm ah eh oh well so okay ok yeah actually basically right now and but
    let me see think check look you know i mean guess just a moment second sorry wait hold
    """.split()
)
_ANSWERS = frozenset("yes yeah yep no nope okay ok right sure thanks".split())
# These are answers, too, though of such words.
_WHOLE_ANSWERS = frozenset(("i guess so", "i think so", "just me"))
# How a short reply begins that is more than that word: "not today", "that's fine".
_REPLIES = _ANSWERS | frozenset("not of never maybe that's it's exactly thank good".split())
# How a command begins, and a phrase that says where, when or how: "turn left", "by train".
_COMMANDS = frozenset(
    """
    cancel stop turn open close go come book call play put take give send make tell start show
    read repeat skip move add set find wake please let keep change check just
    """.split()
)
_PHRASES = frozenset(
    """
    at in on by for to from with around about under before after until till near via through over
    """.split()
)
# With these a number is whole.
_UNITS = frozenset(
    """
    people persons guests adults children nights days hours minutes weeks months years times
    dollars euros pounds meters metres miles percent am pm pieces tickets rooms
    """.split()
)
_TIME = re.compile(
    r"\b(\d{1,2}[:.]\d\d|half[ -]past|quarter (to|past)|morning|afternoon|evening|noon|midnight|"
    r"tonight|today|tomorrow|weekend|week|january|february|march|april|may|june|july|august|"
    r"september|october|november|december)\b"
)
# A number that is whole by its form: a price, a share, a decimal, a year, a time, thousands.
_FORMED = re.compile(
    r"[$£€]\d|\d(\.\d+)? ?(%|percent|dollars|euros|pounds)|(?<![\d.-])\d+\.\d+$|\b(19|20)\d\d$|"
    r"(?<![\d.-])\d{1,2}[:.-][0-5]\d$|\d,\d{3}$"
)
# What a clause begins with.
_CLAUSE = frozenset(
    """
    i we you he she it they there this that the my your our his her their
    i'm i'd i'll i've it's that's there's we're we'd we'll we've he's she's they're you're
    """.split()
)
# A clause has one of these.
_FINITE = frozenset(
    """
    is are was were am do does did have has had can could will would should must may might
    need needs want wants like likes get gets got go goes went come comes came make made take took
    give gave know think say said see let left lost forgot found pay paid work works live lives
    told call sent bought
    """.split()
)
# So end a verb that is contracted with its subject, and one in the past.
_CONTRACTED = ("n't", "'m", "'re", "'d", "'ll", "'ve", "'s", "ed")
# How a question begins that the words alone tell.
_INVERTED = frozenset(
    "is are was were do does did can could will would should may have has".split()
)
# What ends a command or a clause without a noun: "cancel it", "not yet", "call him later".
_TAILS = frozenset(
    """
    it them him else later again too anymore more yet back here there really all everything
    nothing soon well enough first one ones either instead together away once twice
    """.split()
)
# A phrase that begins so names a thing, which may be the first of several.
_THINGS = frozenset("a an the my your our some one two three four five six 2 3 4 5 6".split())
# A sentence that begins so has a second half.
_SUBORDINATE = frozenset("if when because since while after before although first".split())
_CLOSING = frozenset("please thanks bye goodbye now today tonight tomorrow o'clock".split())
_MARKS = ".,?!… "
_SPELLED = re.compile(r"(?:\b[A-Za-z]\b[\s,.\-]*)+$|\b[A-Z]{2,4}$")
_NAME = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+\.?$")
_CLOCK = re.compile(r"[1-9][0-5][05]$")
_DIGITS = re.compile(r"(?:\d[\s,.\-]*)+$")
# "No, I am not" has so many words, and what has more is no answer that repeats a question.
_SHORT = 4
# A phrase that is an answer has so many words, and a time is said in so many last letters.
_PHRASE_WORDS, _TIME_LETTERS = range(2, 6), 14
# A number so long is a telephone number or that of a card, and over.
_WHOLE_NUMBERS = (7, 10, 11, 16)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pause.

    Attributes:
        text: The turn's text up to there.
        after: What Whisper would write after it.
        complete: Chance, 0 to 1, that the voice sounds complete: smart-turn's.
    """

    text: str
    after: After
    complete: float


def chance_of_end(evidence: Evidence) -> float:
    """The chance, 0 to 1, that the turn ends here."""
    weights = _weights()
    score = sum(weights[name] * value for name, value in features(evidence).items())
    return 1.0 / (1.0 + math.exp(-score))


def features(evidence: Evidence) -> dict[str, float]:
    """What the model weighs, by name; most are 0 or 1."""
    text, after = evidence.text.strip(), evidence.after
    words = _WORD.findall(text.lower()) or [""]
    parts = [_WORD.findall(part) for part in re.split(r"[.,?!…]+\s+", text.lower())]
    fragments = [part for part in parts if part] or [[""]]
    answers = words[0] in _ANSWERS
    unfinished = _unfinished(words, asks=after.question > 0.4)
    opener = _OPENERS.issuperset(words) and not answers and " ".join(words) not in _WHOLE_ANSWERS
    whole = not unfinished and not opener
    spelled = _letters(text) >= 2
    return {
        "always": 1.0,
        "question": after.question,
        "dots": _logit(after.dots),
        "word": _logit(1 - after.stop - after.question - after.comma - after.dots - after.nothing),
        "nothing": _logit(after.nothing),
        "voice": max(-2.0, min(2.0, _logit(evidence.complete))),
        "unfinished": float(unfinished),
        "opener": float(opener),
        "broken off": float(text.endswith(("...", "…", "-"))),
        "letters": float(spelled),
        "closing": float(words[-1] in _CLOSING),
        "one reply": float(len(words) == 1 and answers),
        "words": min(len(words), 8) / 8,
        "parts": min(len(fragments), 4) / 4,
        **_number_features(text, whole=whole),
        **_phrase_features(text, words, fragments, whole=whole, spelled=spelled),
    }


def _number_features(text: str, *, whole: bool) -> dict[str, float]:
    """What kind of number stands at the end."""
    groups = _digit_groups(text)
    digits = sum(map(len, groups))
    formed = _is_formed(text)
    open_number = digits >= 2 and len(groups) > 1 and digits not in _WHOLE_NUMBERS
    three = digits == 3 and len(groups) == 1 and not _CLOCK.match(groups[0])
    return {
        "number": float(bool(groups)),
        "formed": float(whole and formed),
        "three digits": float(three and not formed),
        "four digits": float(digits == 4 and not formed),
        "open number": float(open_number and not formed),
        "leading zero": float(bool(groups) and groups[0][0] == "0" and digits < 7),
        "whole number": float(digits in _WHOLE_NUMBERS),
    }


def _phrase_features(
    text: str, words: list[str], fragments: list[list[str]], *, whole: bool, spelled: bool
) -> dict[str, float]:
    """What kind of phrase it is, and its last part: an answer, a clause, a thing, a list."""
    fragment = fragments[-1]
    groups, several = _digit_groups(text), len(words) > len(fragment)
    clause = fragment[0] in _CLAUSE and any(
        word in _FINITE or word.endswith(_CONTRACTED) for word in fragment
    )
    joins = not {"and", "or"}.isdisjoint(fragment[:-1])
    parallel = several and not (clause or joins or groups) and _is_parallel(fragments)
    whole = whole and not parallel
    phrase = whole and len(fragment) in _PHRASE_WORDS
    inverted = fragment[0] in _INVERTED or (fragment[0] in _ASKING and len(fragment) > 1)
    replies, tail = words[0] in _REPLIES, fragment[-1] in _TAILS
    open_list = several and len(fragment) <= 3 and not joins and not groups and not replies
    one_word = len(words) == 1 and words[0] not in _ANSWERS and not _is_formed(text)
    names_thing = fragment[0] in _THINGS and len(fragment) <= 3 and not clause and not tail
    # "Because I was late", but not "After lunch" or "Because of the noise".
    begins_clause = words[0] in _SUBORDINATE and len(words) > 2 and words[1] != "of"
    lacks_clause = begins_clause and not several and _INVERTED.isdisjoint(words[1:2])
    lacks_half = lacks_clause or (words[0] == "first" and several and not joins)
    return {
        "half": float(lacks_half),
        "open list": float(open_list),
        "closed list": float(whole and joins and (several or not clause)),
        "one word": float(one_word),
        "phrase": float(phrase and fragment[0] in _PHRASES and not groups and not spelled),
        "command": float(phrase and fragment[0] in _COMMANDS),
        "reply": float(whole and replies and len(words) in _PHRASE_WORDS),
        "unit": float(whole and fragment[-1] in _UNITS),
        "time": float(whole and bool(_TIME.search(text.lower()[-_TIME_LETTERS:]))),
        "parallel": float(parallel),
        "long": float(whole and len(words) - len(groups) >= 7),
        "went on": float(whole and several and len(fragment) >= _SHORT),
        "clause": float(whole and clause and len(fragment) >= _SHORT),
        "short clause": float(whole and clause and len(fragment) == _SHORT - 1),
        "whole question": float(whole and inverted and len(fragment) >= _SHORT),
        "tail": float(whole and len(words) > 1 and tail),
        "thing": float(phrase and not several and names_thing),
        "name": float(bool(_NAME.match(text))),
        "of": float(phrase and "of" in fragment[1:-1]),
    }


def _is_parallel(fragments: list[list[str]]) -> bool:
    """Whether the last part goes on as the one before: "on Monday, on Tuesday", "a tea, a coke"."""
    before, last = fragments[-2], fragments[-1]
    things = last[0] in _THINGS and not _THINGS.isdisjoint(before)
    return things or last[0] in before


def _unfinished(words: list[str], *, asks: bool) -> bool:
    """Whether something must come after the last word."""
    before, last = words[-2] if len(words) > 1 else "", words[-1]
    if (last == "too" and len(words) > _SHORT) or (last == "mine" and before in _PREPOSITIONS):
        return True  # so "to" and "my" are heard where a voice breaks off
    if last in _PREPOSITIONS:
        wanted = asks and not _ASKING.isdisjoint(words)
        return not wanted and not (last in ("in", "on") and before in _WITH_PARTICLE)
    if last in _SUBJECTS:
        return not asks
    if last == "may" and before in _PREPOSITIONS | {"next", "this"}:
        return False  # the month
    if last in _VERBS:
        if asks:
            return words[0] not in _ASKING
        return not (before in _SUBJECTS | {"it", "that", "you"} and len(words) <= _SHORT)
    if last == "so" and before in _BELIEVING:
        return False
    if last == "that":
        return before in _BEFORE_THAT and not asks
    return last in _NEVER_LAST or (last in _PERSONS and before in _GIVING)


def _is_formed(text: str) -> bool:
    """Whether a number at the end is whole by its form: "$30", "12,400", "1984", "9:30"."""
    return bool(_FORMED.search(text.lower().rstrip(_MARKS)))


def _digit_groups(text: str) -> list[str]:
    """The groups of digits at the end."""
    found = _DIGITS.search(text.rstrip(_MARKS))
    return re.findall(r"\d+", found.group()) if found else []


def _letters(text: str) -> int:
    """How many letters stand at the end, each by itself, as when somebody spells."""
    found = _SPELLED.search(text.rstrip(_MARKS))
    letters = re.findall(r"[A-Za-z]", found.group()) if found else []
    return 0 if letters in (["I"], ["a"]) else len(letters)


def _logit(chance: float) -> float:
    chance = min(max(chance, 0.002), 0.998)
    return math.log(chance / (1.0 - chance))


@cache
def _weights() -> dict[str, float]:
    file = files("cartesia_ink_plugins.server.speech") / "ending_weights.json"
    loaded: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))["weights"]
    return loaded
