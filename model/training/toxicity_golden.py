"""Self-written texts that the served toxicity model must answer like the pipeline it was trained as."""

from toxicity_graph import LABELS

TEXTS = [
    "you are awful",
    "have a lovely day",
    "YOU ARE AWFUL",
    "You are wonderful",
    "I disagree with you, but thank you for explaining.",
    "This product is terrible and I want a refund",
    "what an idiot, he ruins everything",
    "Shut up, you stupid clown!!!",
    "the meeting has been moved to 15:30 on 2024-02-29",
    "Zwölf höfliche Gäste grüßen über die Straße hinweg",
    "ÇA VA? Très bien, merci. ΚΑΛΗΜΈΡΑ ΚΌΣΜΕ, İyi akşamlar",
    "good morning 😀👍🏽 what a beautiful sunrise 🌅",
    "you\tstupid\nidiot",
    "line one is kind\r\nline two is awful\u2028line three is not",
    "!!! ... ??? --- ###",
    "1234567890",
    "qwxz vbnmk plorp",
    "see https://example.org/you/are/awful?x=1 and tell @awful_person_42",
    "stu\u00adpid id1ot a-w-f-u-l a*ful __awful__",
    "e\u0301cole nai\u0308ve \u200byou\u200d are\ufeff awful",
    "the kettle is on and the tea is nearly ready " * 40 + "you are a pathetic liar",
]


def samples(pipeline, texts=TEXTS):
    probabilities = pipeline.predict_proba([text.lower() for text in texts])
    return [_sample(text, row) for text, row in zip(texts, probabilities)]


def _sample(text, row):
    # The larger one as printed, so that `confidence` equals the probability of `label` to the last digit.
    rounded = [round(float(value), 8) for value in row]
    return {
        "text": text,
        "prediction": {
            "label": LABELS[int(row.argmax())],
            "confidence": max(rounded),
            "probabilities": dict(zip(LABELS, rounded)),
        },
    }
