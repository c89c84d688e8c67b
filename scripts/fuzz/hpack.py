"""Header lists of HTTP/2 (RFC 7541): written without compression, and read as far as a status needs it.

The server is told that this side keeps no table; what it sends is literals and entries of the static table.
"""

STATUSES = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}
STATUS_NAMES = range(8, 15)

# The lengths of the codes of Appendix B for all that stands in names and values; the codes count up from these.
LENGTHS = {5: "012aceiost", 6: " %-./3456789=A_bdfghlmnpru", 7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", 8: "&*,;XZ", 10: "!\"()?", 11: "'+|",
           12: "#>", 13: "\x00$@[]~", 14: "^}", 15: "<`{"}


def codes():
    table, code, before = {}, 0, 5
    for length, letters in LENGTHS.items():
        code <<= length - before
        for letter in letters:
            table[length, code] = letter
            code += 1
        before = length
    return table


CODES = codes()


def write(headers):
    """Literals that no table keeps."""
    return b"".join(b"\x00" + string(name) + string(value) for name, value in headers)


def string(text):
    octets = text if isinstance(text, bytes) else text.encode()
    return integer(len(octets), 7) + octets


def integer(value, bits, first=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    octets, value = [first | most], value - most
    while value >= 128:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


class Reader:
    """A header block."""

    def __init__(self, block):
        self.block, self.at = block, 0

    def headers(self):
        """Names and values; of those that the static table names, the status alone."""
        found = {}
        while self.at < len(self.block):
            first = self.block[self.at]
            if first & 0x80:
                index = self.integer(7)
                found |= {":status": STATUSES[index]} if index in STATUSES else {}
            elif first & 0xE0 == 0x20:
                self.integer(5)
            else:
                index = self.integer(6 if first & 0x40 else 4)
                name = ":status" if index in STATUS_NAMES else self.string() if index == 0 else f"static {index}"
                found[name] = self.string()
        return found

    def integer(self, bits):
        most = (1 << bits) - 1
        value = self.block[self.at] & most
        self.at += 1
        shift = 0
        while value >= most and shift < 35:
            octet = self.block[self.at]
            self.at += 1
            value += (octet & 127) << shift
            shift += 7
            if not octet & 128:
                break
        return value

    def string(self):
        packed = self.block[self.at] & 0x80
        length = self.integer(7)
        octets = self.block[self.at:self.at + length]
        self.at += length
        return unpack(octets) if packed else octets.decode("latin-1")


def unpack(octets):
    text, code, length = [], 0, 0
    for bit in f"{int.from_bytes(octets, 'big'):0{8 * len(octets)}b}" if octets else "":
        code, length = code << 1 | (bit == "1"), length + 1
        if letter := CODES.get((length, code)):
            text.append(letter)
            code = length = 0
    return "".join(text)
