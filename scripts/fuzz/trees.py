"""Mutations of JSON documents. Names may come twice and numbers may be of any length: the trees are no Python dicts."""

import json

MAX_BYTES = 40 * 1024


class Raw(str):
    """JSON that stands in the document as it is, whether it is any or not."""


class Members(list):
    """An object: names and values in their order."""


ODD = [
    None, True, False, 0, -1, 1, 2, 0.1, -2.5, 255, 256, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64,
    Raw("1e999"), Raw("-1e999"), Raw("1e-999"), Raw("-0"), Raw("-0.0"), Raw("1" * 400), Raw("0." + "3" * 400),
    Raw('"\\ud800"'), Raw('"\\ud83d\\ude42"'), Raw('"\\u0000"'),
    "", " ", "\u0000", "\u202e\u0301", "日本", "🙂" * 50, "x" * 5000, "../../etc/passwd", "%s%n", "$(id)", "FP32", "BYTES", "1", "NaN",
    [], [[]], [None], [[], [[]]], Members(), Members([("", "")]), Members([("x", Members())]),
]
# What is no JSON.
BROKEN = [Raw(text) for text in ["01", "+1", "1.", ".5", "0x10", "NaN", "Infinity", "nul", "'x'", "{]", "", '"\n"', '"\\x"', '"open', "[" * 200]]
NAMES = ["", "model", "version", "text", "texts", "input", "inputs", "outputs", "parameters", "shape", "datatype", "data",
         "name", "binary_data_size", "classification", "shared_memory_region", "__proto__", "\u0000", "🙂", "x" * 3000]
DEPTHS = [1, 2, 8, 120, 130, 5000]


def tree(value):
    """The tree of a plain document."""
    if isinstance(value, dict):
        return Members([(name, tree(inner)) for name, inner in value.items()])
    return [tree(inner) for inner in value] if isinstance(value, list) else value


def write(node):
    """The document's bytes."""
    return text(node).encode("utf-8", "surrogatepass")


def text(node):
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, Members):
        return "{" + ",".join(f"{json.dumps(name)}:{text(value)}" for name, value in node) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(text, node)) + "]"
    return json.dumps(node, ensure_ascii=False)


def mutate(chance, root):
    """One to three changes at places of chance. What would be too large to send stays as it was."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        changed = change(chance, root)
        root = changed if len(write(changed)) <= MAX_BYTES else root
    return root


def change(chance, node):
    """A copy in which one place is another: further down with every level that there is."""
    if isinstance(node, list) and node and chance.random() < 0.75:
        place = chance.randrange(len(node))
        if isinstance(node, Members):
            name, value = node[place]
            return Members([*node[:place], (name, change(chance, value)), *node[place + 1:]])
        return [*node[:place], change(chance, node[place]), *node[place + 1:]]
    if isinstance(node, Members):
        return members(chance, node)
    return elements(chance, node) if isinstance(node, list) else scalar(chance, node)


def members(chance, node):
    what = chance.choice(["drop", "twice", "more", "rename", "many", "odd", "nest", "order"])
    place = chance.randrange(len(node)) if node else 0
    if what == "drop":
        return Members(node[:place] + node[place + 1:])
    if what == "twice" and node:
        name, value = node[place]
        return Members([*node, (name, chance.choice([value, odd(chance)]))])
    if what == "more":
        return Members([*node, (chance.choice(NAMES), odd(chance))])
    if what == "rename" and node:
        return Members([*node[:place], (chance.choice(NAMES), node[place][1]), *node[place + 1:]])
    if what == "many":
        return Members([*node, *((f"name {number}", number) for number in range(chance.choice([40, 1100])))])
    if what == "order":
        return Members(chance.sample(node, len(node)))
    return nested(chance, node) if what == "nest" else odd(chance)


def elements(chance, node):
    what = chance.choice(["drop", "twice", "repeat", "odd element", "odd", "nest", "flat"])
    place = chance.randrange(len(node)) if node else 0
    if what == "drop":
        return node[:place] + node[place + 1:]
    if what == "twice" and node:
        return [*node, node[place]]
    if what == "repeat":
        return node * chance.choice([2, 3, 65, 1025])
    if what == "odd element":
        return [*node[:place], odd(chance), *node[place:]]
    if what == "flat" and node:
        return node[place]
    return nested(chance, node) if what == "nest" else odd(chance)


def scalar(chance, node):
    if isinstance(node, str) and not isinstance(node, Raw) and chance.random() < 0.4:
        return chance.choice([node + "\u0000", node * 40, node.upper(), node[:-1], " " + node, node + "\ud800"])
    if isinstance(node, (int, float)) and not isinstance(node, bool) and chance.random() < 0.4:
        return chance.choice([node + 1, -node, node * 10**9, float(node), str(node), node + 0.5, Raw(f"{node}e3")])
    return nested(chance, node) if chance.random() < 0.1 else odd(chance)


def odd(chance):
    return chance.choice(ODD if chance.random() < 0.9 else BROKEN)


def nested(chance, node):
    depth = chance.choice(DEPTHS)
    if chance.random() < 0.5:
        return Raw("[" * depth + text(node) + "]" * depth)
    return Raw('{"x":' * depth + text(node) + "}" * depth)
