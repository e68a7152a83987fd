"""Short paragraphs of made-up facts about made-up people, and questions whose answers stand in them.

Written by the templates below from a seed. Names are put together from syllables; held-out questions are
about names that are in no paragraph a model is trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from gnomon.tasks.mobile.squad_score import Feature, Paragraph
from gnomon.tasks.mobile.wordpieces import feature_of, numbered, paragraph_of, parts_of

LENGTH = 64
"""Tokens of a question and its paragraph at most, all included."""
MOST_FACTS = 6
PEOPLE = 3
HELD_OUT_SHARE = 4
"""One name in so many is held out."""

NAMES = (
    "al bel cor da el fen gar ha il jo ka lu mi no os pe qui ro sa ti ul ve wen yor zo",
    "ra lo mir nan dis ket la rin sha tor vin wyn bo gar lia mo nel ris sto ven",
)
PLACES = (
    "ash brook crow dun east fair glen hart kings long mill north oak stone tarn west",
    "bury dale field ford ham ley mere port stead ton wick wood",
)
"""First and second syllables."""
WORDS = {
    "job": "baker butcher captain carpenter cook doctor farmer fisher gardener guard judge lawyer miller "
    "painter pilot porter potter sailor singer smith tailor teacher writer",
    "colour": "black blue brown gold green grey pink purple red silver white yellow",
    "thing": "bag basket bicycle boat book box bottle cap car chair clock coat cup desk kite lamp mirror "
    "phone ring scarf table tent umbrella wagon",
    "animals": "bees camels cats cows dogs donkeys ducks geese goats hens horses mules pigeons pigs "
    "rabbits sheep",
    "building": "barn bridge castle chapel fountain gate harbour hospital library lighthouse market museum "
    "prison school station temple theatre tower",
    "taste": "bitter cold dried fresh fried hot roasted salted sour spicy sweet warm",
    "food": "apples beans bread cabbage carrots cheese corn eggs fish mushrooms noodles onions pears peas "
    "plums potatoes rice soup",
    "instrument": "banjo bassoon cello clarinet cornet drum flute guitar harp horn lute organ piano trumpet "
    "violin",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
}
NUMBERS = {"age": (18, 99), "number": (2, 60), "year": (1700, 2020)}
"""First, and first no more."""


@dataclass(frozen=True)
class Fact:
    """A kind of fact: how it is stated, and what is asked about it with which part of it as the answer."""

    statements: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]


FACTS = (
    Fact(
        (
            "{who} lives in {place}.",
            "The home of {who} is in {place}.",
            "In {place} stands the house of {who}.",
        ),
        (
            ("Where does {who} live?", "{place}"),
            ("In which town is the home of {who}?", "{place}"),
            ("Who lives in {place}?", "{who}"),
        ),
    ),
    Fact(
        (
            "{who} was born in {place}.",
            "{who} comes from {place}.",
            "{place} is the birthplace of {who}.",
        ),
        (
            ("Where was {who} born?", "{place}"),
            ("From which town does {who} come?", "{place}"),
            ("Who was born in {place}?", "{who}"),
        ),
    ),
    Fact(
        (
            "{who} works as a {job}.",
            "The job of {who} is that of a {job}.",
            "For a living {who} is a {job}.",
        ),
        (
            ("What is the job of {who}?", "{job}"),
            ("What does {who} do for a living?", "{job}"),
            ("Who works as a {job}?", "{who}"),
        ),
    ),
    Fact(
        (
            "{who} owns a {colour} {thing}.",
            "A {colour} {thing} belongs to {who}.",
            "{who} has bought a {colour} {thing}.",
        ),
        (
            ("What does {who} own?", "{colour} {thing}"),
            ("What belongs to {who}?", "{colour} {thing}"),
            ("What colour is the {thing} of {who}?", "{colour}"),
            ("Who owns the {thing}?", "{who}"),
        ),
    ),
    Fact(
        (
            "{who} is {age} years old.",
            "The age of {who} is {age}.",
            "{who} has turned {age}.",
        ),
        (
            ("How old is {who}?", "{age}"),
            ("What is the age of {who}?", "{age}"),
            ("Who is {age} years old?", "{who}"),
        ),
    ),
    Fact(
        (
            "{who} keeps {number} {animals}.",
            "There are {number} {animals} on the farm of {who}.",
            "{number} {animals} live with {who}.",
        ),
        (
            ("How many {animals} does {who} keep?", "{number}"),
            ("What animals does {who} keep?", "{animals}"),
            ("Who keeps {animals}?", "{who}"),
        ),
    ),
    Fact(
        (
            "The {building} in {place} was built in {year} by {who}.",
            "{who} built the {building} of {place} in {year}.",
            "In {year} {who} built the {building} at {place}.",
        ),
        (
            ("Who built the {building}?", "{who}"),
            ("When was the {building} built?", "{year}"),
            ("In which year did {who} build the {building}?", "{year}"),
            ("Where is the {building} that {who} built?", "{place}"),
            ("What did {who} build?", "{building}"),
        ),
    ),
    Fact(
        (
            "{who} likes {taste} {food}.",
            "The favourite dish of {who} is {taste} {food}.",
            "{who} would eat {taste} {food} every day.",
        ),
        (
            ("What does {who} like to eat?", "{taste} {food}"),
            ("What is the favourite dish of {who}?", "{taste} {food}"),
            ("Who likes {food}?", "{who}"),
        ),
    ),
    Fact(
        (
            "{who} plays the {instrument} on {day}.",
            "On {day} {who} plays the {instrument}.",
            "The {instrument} is played by {who} on {day}.",
        ),
        (
            ("Which instrument does {who} play?", "{instrument}"),
            ("When does {who} play the {instrument}?", "{day}"),
            ("On which day does {who} play?", "{day}"),
            ("Who plays the {instrument}?", "{who}"),
        ),
    ),
)


@dataclass(frozen=True)
class Question:
    """A question about a paragraph.

    Attributes:
        text: What is asked.
        paragraph: Where the answer is.
        truths: Right answers; the second is the first with an article.
        first: Word of the paragraph in which the answer begins.
        last: Word in which it ends.
        feature: Question and paragraph as word pieces.
    """

    text: str
    paragraph: Paragraph
    truths: tuple[str, ...]
    first: int
    last: int
    feature: Feature


@cache
def vocabulary() -> Mapping[str, int]:
    """Every word piece of these texts and its id: words whole, names and numbers in parts."""
    templates = (text for fact in FACTS for text in (*fact.statements, *dict(fact.questions)))
    written = {part for text in templates for part in parts_of(re.sub(r"\{\w+\}", "", text))}
    lists = {word.lower() for words in WORDS.values() for word in words.split()}
    starts = {*NAMES[0].split(), *PLACES[0].split(), *"0123456789", "17", "18", "19", "20"}
    ends = {f"##{end}" for end in (*NAMES[1].split(), *PLACES[1].split(), *"0123456789")}
    return numbered(sorted(written | lists | starts | ends))


def generated(
    count: int, seed: int, held_out: bool, most_facts: int = MOST_FACTS
) -> list[Question]:
    """Questions, each about a paragraph of its own.

    Args:
        count: How many.
        seed: Everything random is drawn from it.
        held_out: Whether all names are such as models are never trained on, or none is.
        most_facts: In a paragraph; even.
    """
    generator = np.random.default_rng(seed)
    return [_question(generator, held_out, most_facts) for _ in range(count)]


def _question(generator: np.random.Generator, held_out: bool, most_facts: int) -> Question:
    """One question; of its paragraph, only as many facts are kept as fit."""
    drawn = {
        "who": _drawn(_names(*NAMES, held_out), PEOPLE, generator),
        "place": _drawn(_names(*PLACES, held_out), most_facts, generator),
    }
    drawn |= {slot: _drawn(words.split(), most_facts, generator) for slot, words in WORDS.items()}
    for slot, (low, high) in NUMBERS.items():
        more = generator.choice(high - low, most_facts, replace=False)
        drawn[slot] = [str(low + one) for one in more.tolist()]
    # Each kind of fact is told of two people, so that neither the person nor the kind says enough.
    kinds = generator.permutation(len(FACTS))[: most_facts // 2]
    told: list[tuple[Fact, dict[str, str]]] = []
    for kind in kinds.tolist():
        for person in generator.permutation(PEOPLE)[:2].tolist():
            here = {slot: values[len(told)] for slot, values in drawn.items() if slot != "who"}
            told.append((FACTS[kind], here | {"who": drawn["who"][person]}))
    fact, slots = told[0]
    statement = fact.statements[generator.integers(len(fact.statements))]
    text, asked = fact.questions[generator.integers(len(fact.questions))]
    before, _ = statement.split(asked)
    asked_text, asked_about = text.format(**slots), statement.format(**slots)
    sentences, place = [asked_about], 0
    room = LENGTH - len(_feature(asked_text, asked_about).tokens)
    for other, others in told[1:]:
        added = other.statements[generator.integers(len(other.statements))].format(**others)
        where = int(generator.integers(len(sentences) + 1))
        needed = len(_feature("", added).word_of_token)
        if needed <= room:
            sentences.insert(where, added)
            place += where <= place
            room -= needed
    first = len(" ".join([*sentences[:place], before]).split())
    answer = asked.format(**slots)
    with_article = asked != "{colour}" and before.split()[-1:] in (["a"], ["A"])
    written = " ".join(sentences)
    return Question(
        asked_text,
        paragraph_of(written),
        (answer, f"a {answer}") if with_article else (answer,),
        first,
        first + len(answer.split()) - 1,
        _feature(asked_text, written),
    )


def _feature(question: str, text: str) -> Feature:
    return feature_of(question, paragraph_of(text), vocabulary())


@cache
def _names(starts: str, ends: str, held_out: bool) -> list[str]:
    """All names of these syllables that are held out, or all others."""
    return [
        (start + end).capitalize()
        for row, start in enumerate(starts.split())
        for column, end in enumerate(ends.split())
        if ((row + column) % HELD_OUT_SHARE == 0) == held_out
    ]


def _drawn(words: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """Some of these, each once at most."""
    return [words[place] for place in generator.permutation(len(words))[:count].tolist()]
