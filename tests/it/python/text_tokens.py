"""Tokenizers written by hand: the file that the server reads, and the same rules once more in Python, by other means.

`files` are the documents of tokenizer.json; `encode` gives the numbers of a text's tokens, special ones included.
"""

import re
import unicodedata

WORDS = """the a good bad day film you are awful lovely have was it not very great terrible plot and but of
##ing ##s ##ly ##ed ##er ##est ##ful ! ? . , ' - caf ##e na ##ive strasse 日 本 1 2 3 ##4 ##5""".split()


class WordPiece:
    """BERT's: lower-cased, without accents, the longest known piece first."""

    pad = 0

    def __init__(self, most, words=WORDS):
        self.most = most
        self.vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}

    def file(self, **changes):
        special = {
            name: {"id": name, "ids": [self.vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")
        }
        added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        single = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                  {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": self.vocabulary[name], "content": name, **added}
                             for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")],
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "single": single,
                               "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": special},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": self.vocabulary},
            **changes,
        }

    def encode(self, text):
        pieces = [piece for word in self.words(text) for piece in self.pieces(word)]
        tokens = ["[CLS]", *pieces[: self.most - 2], "[SEP]"]
        return [self.vocabulary[token] for token in tokens]

    def words(self, text):
        kept = "".join(" " if c in "\t\n\r" or unicodedata.category(c) == "Zs" else c for c in text
                       if c in "\t\n\r" or (unicodedata.category(c)[0] != "C" and c != "\ufffd"))
        spaced = "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FFF else c for c in kept)
        plain = "".join(c for c in unicodedata.normalize("NFD", spaced) if unicodedata.category(c) != "Mn").lower()
        for word in plain.split():
            yield from filter(None, re.split(r"(?a:([!-/:-@\[-`{-~]))", word))

    def pieces(self, word):
        found, start = [], 0
        if len(word) > 100:
            return ["[UNK]"]
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.vocabulary), None)
            if end is None:
                return ["[UNK]"]
            found.append(prefix + word[start:end])
            start = end
        return found


class BytePairs:
    """RoBERTa's: pairs of bytes, merged in the order of their table. Padding has the number 1."""

    pad = 1
    pairs = ["Ġ t", "h e", "Ġt he", "o o", "Ġ g", "Ġg oo", "Ġgoo d", "d a", "da y", "Ġ day", "l o", "Ã ©", "e r"]

    def __init__(self, most):
        self.most = most
        kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = (byte for byte in range(256) if byte not in kept)
        self.letters = {byte: chr(byte) for byte in kept}
        self.letters.update({byte: chr(256 + index) for index, byte in enumerate(others)})
        self.merges = [tuple(pair.split()) for pair in self.pairs]
        tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(self.letters.values()), *map("".join, self.merges)]
        self.vocabulary = {token: index for index, token in enumerate(tokens)}

    def file(self, **changes):
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                               "trim_offsets": True, "add_prefix_space": False},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "vocab": self.vocabulary,
                      "merges": [" ".join(pair) for pair in self.merges]},
            **changes,
        }

    def encode(self, text):
        words = re.findall(r"'(?:[stmd]|re|ve|ll)| ?[^\W\d_]+| ?\d+| ?(?:_|[^\s\w])+|\s+(?!\S)|\s+", text)
        pieces = [piece for word in words for piece in self.merged([self.letters[byte] for byte in word.encode()])]
        return [self.vocabulary[token] for token in ["<s>", *pieces[: self.most - 2], "</s>"]]

    def merged(self, parts):
        while True:
            pairs = [pair for pair in zip(parts, parts[1:]) if pair in self.merges]
            if not pairs:
                return parts
            first = min(pairs, key=self.merges.index)
            joined, at = [], 0
            while at < len(parts):
                size = 2 if tuple(parts[at : at + 2]) == first else 1
                joined.append("".join(parts[at : at + size]))
                at += size
            parts = joined
