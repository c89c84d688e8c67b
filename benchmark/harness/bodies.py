"""What is asked: texts of the length of tweets and rows of numbers, the same ones for the same seed."""

import json
import random

WHO = """my neighbour|this guy|the whole team|everyone here|nobody|that driver|our teacher|the new manager|she|he|they|people
like you|my little sister|your so called friend|the referee|a total stranger|that singer|half of this town""".split("|")
DOES = """is|was never|thinks that he is|keeps calling me|will always be|sounds like|looks like|acts like|told me about|cannot
stand|really loves|laughed at|wrote about|forgot|just posted|complains about|apologised for|does not care about""".split("|")
WHAT = """a wonderful person|such an idiot|the worst coach ever|a lovely surprise|garbage|the best thing this week|a stupid
joke|an absolute legend|trash|this terrible movie|the morning coffee|a pathetic liar|that amazing goal|the late train|my new
phone|a disgusting mess|the weather again|a bunch of losers|an old photograph|the way home""".split("|")
MORE = """and I am so tired of it|lol|honestly|but who cares|on a Monday of all days|can you believe that|and it made my
day|shut up already|thank you so much|what a day|for no reason at all|in front of everybody|and we could not stop laughing|I
swear|as if that would help|so go away|see you tomorrow|with all my heart|you have no idea""".split("|")
TAGS = "#fail|#love|#monday|#truth|!!|...|:)|smh|omg|😂|❤|#sports|@friend".split("|")


def sentence(generator):
    """One text: 20 to 280 characters, most around 80."""
    clauses = generator.choices((1, 2, 3), (60, 30, 10))[0]
    parts = []
    for _ in range(clauses):
        parts += [generator.choice(WHO), generator.choice(DOES), generator.choice(WHAT)]
        if generator.random() < 0.6:
            parts.append(generator.choice(MORE))
    if generator.random() < 0.5:
        parts.append(generator.choice(TAGS))
    text = " ".join(" ".join(parts).split())
    return (text.capitalize() if generator.random() < 0.5 else text)[:280]


def texts(count, seed=1):
    """Distinct sentences."""
    generator, found = random.Random(seed), {}
    while len(found) < count:
        found[sentence(generator)] = None
    return list(found)


def rows(count, seed=2, width=10):
    """Rows of numbers as the diabetes data has them: mean 0, about 0.05 from it, four digits."""
    generator = random.Random(seed)
    return [[round(generator.gauss(0, 0.05), 4) for _ in range(width)] for _ in range(count)]


def single(model, items, field):
    """A body per item."""
    return [dump({"model": model, field: item}) for item in items]


def batches(model, items, field, size):
    """A body per `size` items; the items are repeated where they are too few."""
    count = max(1, min(len(items) // size, 500))
    return [dump({"model": model, field: [items[(n * size + i) % len(items)] for i in range(size)]}) for n in range(count)]


def dump(value):
    """JSON on one line, as small as it gets: wrk reads the files line by line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
