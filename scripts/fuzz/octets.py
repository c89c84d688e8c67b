"""Mutations of bytes, whatever they mean."""

# Shorter than what is planted in texts: no mutation makes a name of that.
MAX_PIECE = 16

ODD = [b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\x7f", b'"', b"\\",
       b"{", b"[", b"}", b",", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x00", b"\x1f\x8b\x08"]


def mutate(chance, octets):
    """One to four changes at places of chance."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        octets = change(chance, octets)
    return octets


def change(chance, octets):
    place = chance.randrange(len(octets) + 1)
    piece = chance.randint(1, MAX_PIECE)
    what = chance.choice(["flip", "set", "end", "cut", "insert", "random", "double", "swap"])
    if what == "end":
        return octets[:place]
    if what == "cut":
        return octets[:place] + octets[place + piece:]
    if what == "insert":
        return octets[:place] + chance.choice(ODD) + octets[place:]
    if what == "random":
        return octets[:place] + chance.randbytes(piece) + octets[place:]
    if what == "double":
        return octets[:place] + octets[place:place + piece] * chance.choice([1, 2, 30]) + octets[place:]
    if what == "swap":
        return octets[:place] + octets[place:place + piece][::-1] + octets[place + piece:]
    if not octets[place:]:
        return octets
    value = octets[place] ^ 1 << chance.randrange(8) if what == "flip" else chance.randrange(256)
    return octets[:place] + bytes([value]) + octets[place + 1:]
