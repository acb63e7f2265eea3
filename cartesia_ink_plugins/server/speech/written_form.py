"""The written form of what was dictated: numbers, spelled words and e-mail addresses in one piece.

Pure. Whisper often writes "5, 5, 5, 2, 3, 6, 8", "S-M-I-T-H" or "john at example dot com"; here
that becomes "555-2368", "SMITH" and "john@example.com". Text is never revised, so what may still
become a part of something longer is held back while somebody speaks, and written in a pause.
"""

from __future__ import annotations

import re
from itertools import pairwise

_DIGITS = {
    word: str(digit)
    for digit, word in enumerate("zero one two three four five six seven eight nine".split())
} | {"oh": "0"}
_NUMBER = rf"(?:\d+(?:-\d+)*|{'|'.join(_DIGITS)})"
_LETTER = r"(?:[A-Z](?:[-.][A-Z])*|[A-Za-z](?:-[A-Za-z]){2,})"
_GAP = r"[.,]?\s+"
_ALONE = r"(?![\w%:/'@]|[.,-]\d|-\w)"
# Not "$5", "20,000", "8:30", "3rd" or "2.5"; not "A.M" of a longer word, nor "I'm".
_NUMBERS = re.compile(rf"(?<![\w$£€.,:/'-]){_NUMBER}(?:{_GAP}{_NUMBER})*{_ALONE}", re.IGNORECASE)
_AND_ANOTHER = re.compile(rf",?\s+(?:and|or)\s+{_NUMBER}{_ALONE}", re.IGNORECASE)
_LETTERS = re.compile(rf"(?<![\w.'-]){_LETTER}(?:{_GAP}{_LETTER})*(?![\w'-]|\.\w)")
_CLOCK = re.compile(r"(?<![\w.,:$£€])(\d{1,2})\.([0-5]\d)(?= ?[ap]\.?m\b)", re.IGNORECASE)
_TOP_LEVEL = "com|org|net|edu|gov|info|io|co|ai|app|dev|us|uk|ca|au|nz|ie|in|de|fr|eu"
_DOT = r"(?:\.|\s+dot\s+)"
_DOMAIN = rf"[a-z0-9-]+(?:{_DOT}[a-z0-9-]+)*{_DOT}(?:{_TOP_LEVEL})"
_SITE = re.compile(rf"(?<![\w@.]){_DOMAIN}\b(?!\s+dot\b)", re.IGNORECASE)
_LOCAL = r"[a-z0-9]+(?:(?:[._+-]|\s+(?:dot|underscore|dash)\s+)[a-z0-9]+)*"
_EMAIL = re.compile(
    rf"(?<![\w@'.-])({_LOCAL})([.,]?)\s+at\s+({_DOMAIN})\b(?!\s+dot\b)", re.IGNORECASE
)
_SPOKEN = {"dot": ".", "underscore": "_", "dash": "-"}
# After these, or as the first word of a sentence, a word before "at example.com" is a person's.
_BEFORE_ADDRESS = re.compile(
    r"(?:^|[.?!:,]|\b(?:is|it's|that's|email|e-mail|mail|address|to|write|contact|or|and))\s*$",
    re.IGNORECASE,
)
_NO_LOCAL = frozenset(
    "look meet find see here available us me them it him her page site is".split()
)
_MONTH = re.compile(
    r"\b(january|february|march|april|may|june|july|august|september|october|november|december)"
    r",?\s*$",
    re.IGNORECASE,
)
# So many single letters or digits are a spelled word or a dictated number; so many digits are when
# they come in groups of several.
_SINGLE, _GROUPED = 3, 5
# What may still grow: a number, a letter, the hour of a time, an address from its "at" or "dot" on.
_OPEN_NUMBER = re.compile(
    rf"(?:^|\s){_NUMBER}(?:(?:{_GAP}|,?\s+(?:and|or)\s+){_NUMBER})*[.,]?(?:\s+(?:and|or))?$|"
    r"(?:^|\s)\d{1,2}\.[0-5]\d$",
    re.IGNORECASE,
)
_OPEN_LETTERS = re.compile(rf"(?:^|\s){_LETTER}(?:{_GAP}{_LETTER})*[.,]?$")
_OPEN_ADDRESS = re.compile(
    r"\s+(?:at|dot|underscore|dash)"
    r"(?:\s+[\w.-]+(?:\s+(?:at|dot|underscore|dash)(?:\s+[\w.-]+)?)*)?$",
    re.IGNORECASE,
)
# The first three digits of a number that goes on.
_PREFIX = re.compile(rf"\s*\d(?:(?:{_GAP}|-)?\d){{2}}(?=(?:{_GAP}|-)?\d)")
# A number that may go on after a pause; "at 8." and "in 1984." may not.
_GOES_ON = re.compile(r"(?<![\w$£€.,:'])(?:(?!(?:19|20)\d\d\b)\d[\d-]{2,}|0\d*)[.,]$")


class WrittenForm:
    """The written form of one turn, which only grows."""

    __slots__ = ("_heard", "text")

    def __init__(self) -> None:
        """Begin a turn without words.

        Attributes:
            text: What may be said of it.
        """
        self.text = ""
        self._heard = 0

    def write(self, heard: str, *, pause: bool, overdue: bool = False) -> str:
        """Take all that was heard of the turn.

        Args:
            heard: The turn's text as it was recognised; it only grows.
            pause: Whether the speaker pauses, so that nothing is held back.
            overdue: Whether something must be said: of a number that was begun its first three
                digits, which are the same whatever follows, or else everything.

        Returns:
            The text that may be said; it begins with what was returned before.
        """
        end = len(heard) if pause else settled_until(heard)
        if overdue and end <= self._heard:
            prefix = _PREFIX.match(heard, self._heard)
            end, pause = (prefix.end(), False) if prefix else (len(heard), True)
        if end <= self._heard and not pause:
            return self.text
        whole = written(heard[:end], pause=pause)
        if whole.startswith(self.text):
            self.text = whole
        else:
            self.text += _continued(self.text, heard[self._heard : end], pause=pause)
        self._heard = end
        return self.text


def settled_until(text: str) -> int:
    """How many characters of a text no word that follows can change."""
    end = len(text)
    if address := _OPEN_ADDRESS.search(text):
        end = address.start()
    for tail in (_OPEN_NUMBER, _OPEN_LETTERS):
        if found := tail.search(text, 0, end):
            end = found.start()
    return end


def written(text: str, *, pause: bool = False) -> str:
    """The written form of a text.

    Args:
        text: As it was recognised.
        pause: Whether the speaker pauses after it: a number that may go on has no full stop then.

    Returns:
        The text, of which nothing is changed but what was dictated.
    """
    spelled = _OPEN_LETTERS.search(text)
    goes_on = spelled and _word(spelled) != spelled[0]
    text = _CLOCK.sub(r"\1:\2", text)
    text = _NUMBERS.sub(_number, text)
    text = _LETTERS.sub(_word, text)
    text = _EMAIL.sub(_email, text)
    text = _SITE.sub(lambda found: _compact(found[0]), text)
    return text.rstrip(".,") if pause and (goes_on or _GOES_ON.search(text)) else text


def _continued(said: str, following: str, *, pause: bool) -> str:
    """The written form of words whose beginning is said already, in another form."""
    number = _NUMBERS.match(following.lstrip(" .,"))
    if number and said[-1:].isdigit():
        digits = "".join(_groups(number[0]))
        return digits + written(following.lstrip(" .,")[number.end() :], pause=pause)
    return written(following, pause=pause)


def _number(found: re.Match[str]) -> str:
    """One number for the groups of digits in which it was dictated, if it was."""
    run, before, behind = found[0], found.string[: found.start()], found.string[found.end() :]
    begin = ""
    if exclaimed := re.match(r"(?:Oh[.,]?\s+)+", run):  # not a zero
        begin, run = exclaimed[0], run[exclaimed.end() :]
    end = ""
    counted = re.match(r"\s+[a-z]", behind)
    last = re.search(rf"[.,]\s+{_NUMBER}$", run, re.IGNORECASE)
    if counted and last and not re.match(r"\s+(?:is|please)\b", behind):
        run, end = run[: last.start()], last[0]  # "in 2025, 300 people"
    groups = _groups(run)
    enumerated = _AND_ANOTHER.match(behind)
    if enumerated or _MONTH.search(before) or not _is_dictated(run, groups):
        return found[0]
    return begin + _grouped("".join(groups)) + end


def _groups(run: str) -> list[str]:
    return [_DIGITS.get(part.lower(), part) for part in re.findall(r"\d+|[A-Za-z]+", run)]


def _is_dictated(run: str, groups: list[str]) -> bool:
    """Whether groups of digits are one number: not "7, 30", "1994-1996", "1980, four"."""
    numbers = [int(group) for group in groups]
    if all(later == number + 1 for number, later in pairwise(numbers)):
        return False
    if all(len(group) == 1 for group in groups):
        return len(groups) >= _SINGLE
    round_numbers = sum(len(group) >= 3 and group.endswith("00") for group in groups)
    digits = "".join(groups)
    if not re.search(r"\s", run):
        return _grouped(digits) != digits  # as one piece, but perhaps in other groups: "555-236-8"
    one_word = len(re.findall(r"\b(?!oh|zero)[a-z]+", run, re.IGNORECASE)) == 1
    return not one_word and round_numbers < 2 and len(digits) >= _GROUPED


def _grouped(digits: str) -> str:
    """A telephone number of North America in its usual groups, any other as it is."""
    found = re.fullmatch(r"(1?)(?:([2-9]\d\d)([2-9]\d\d)|([2-9]\d\d))(\d{4})", digits)
    if not found or (found[1] and not found[2]):
        return digits
    return "-".join(part for part in found.groups() if part)


def _word(found: re.Match[str]) -> str:
    """One word for the letters with which it was spelled, if it was."""
    run, end = found[0], ""
    last = re.search(rf"{_GAP}I$", run)
    if last and re.match(r"\s+(?!at\b)[a-z]", found.string[found.end() :]):  # "... L A I think"
        run, end = run[: last.start()], last[0]
    letters = re.findall(r"[A-Za-z]", run)
    if len(letters) < _SINGLE or sum(letter not in "AI" for letter in letters) < 2:
        return found[0]
    return "".join(letters).upper() + end


def _email(found: re.Match[str]) -> str:
    """An e-mail address, if the words before "at" are somebody's name."""
    local, before = found[1], found.string[: found.start()]
    named = bool(re.search(r"[\d._+\-\s]", local)) or local.isupper()
    if not named:
        named = bool(_BEFORE_ADDRESS.search(before)) and local.lower() not in _NO_LOCAL
    if not named or (found[2] and not local.isupper()):
        return found[0]
    local = local.lower() if local.isupper() else local
    return f"{_compact(local)}@{_compact(found[3]).lower()}"


def _compact(spoken: str) -> str:
    """Signs for the words that name them."""
    return re.sub(
        rf"\s+({'|'.join(_SPOKEN)})\s+",
        lambda found: _SPOKEN[found[1].lower()],
        spoken,
        flags=re.IGNORECASE,
    )
