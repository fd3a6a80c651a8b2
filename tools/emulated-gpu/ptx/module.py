"""Reads a module of PTX: its kernels, each with parameters and statements, and its variables."""

import re
from dataclasses import dataclass

BYTES = {
    "pred": 1, "b8": 1, "u8": 1, "s8": 1,
    "b16": 2, "u16": 2, "s16": 2, "bf16": 2,
    "b32": 4, "u32": 4, "s32": 4, "f32": 4, "bf16x2": 4,
    "b64": 8, "u64": 8, "s64": 8, "f64": 8,
}  # fmt: skip

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
DIRECTIVE = re.compile(r"^\s*\.(version|target|address_size)\b[^\n]*", re.M)
ENTRY = re.compile(r"\.entry\s+(?P<name>[\w$]+)\s*\((?P<parameters>[^)]*)\)(?P<bounds>[^{]*)", re.S)
VARIABLE = re.compile(
    r"(\.(extern|visible|weak)\s+)*\.(?P<space>global|const|shared|param)\s+"
    r"(\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+(\.ptr\s+(\.global\s+)?(\.align\s+\d+\s+)?)?"
    r"(?P<name>[\w$]+)\s*(\[(?P<count>\d*)\])?\s*(=\s*\{(?P<values>[^}]*)\})?$",
    re.S,
)
STATEMENT = re.compile(r"\s*(?:(?P<brace>[{}])|(?P<label>[\w$]+)\s*:|(?P<text>[^;]+);)")


class Unknown(Exception):
    """Something that this translator has no rule for."""


def fail(what):
    raise Unknown(what)


@dataclass
class Variable:
    name: str
    space: str
    bytes: int
    align: int
    # What a constant array of bytes holds, as it is written.
    values: str


def read_variable(text):
    match = VARIABLE.match(text.strip())
    if not match or match["type"] not in BYTES:
        raise Unknown(text)
    width = BYTES[match["type"]]
    count = 1 if match["count"] is None else int(match["count"] or 0)
    if match["values"] and width != 1:
        raise Unknown(f"initial values of other than bytes: {text[:100]}")
    return Variable(match["name"], match["space"], width * count, int(match["align"] or width), match["values"])


def closing_brace(text, opening):
    depth = 0
    for brace in re.compile(r"[{}]").finditer(text, opening):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise Unknown("a brace that is never closed")


def items(text):
    """The parts of a module: (declaration, None) or (head, body)."""
    start = 0
    while end := re.compile(r"[;{]").search(text, start):
        head = text[start : end.start()].strip()
        if end[0] == "{" and "=" not in head:
            close = closing_brace(text, end.start())
            yield head, text[end.end() : close]
            start = close + 1
        else:
            stop = text.index(";", start)
            yield text[start:stop].strip(), None
            start = stop + 1


@dataclass
class Entry:
    name: str
    # In their order, each with its place in the memory of all.
    parameters: list
    parameter_bytes: int
    # The most threads of a block, 0 where it doesn't say.
    most_threads: int
    body: str

    def statements(self):
        """("brace", "{" or "}"), ("label", name) or ("text", statement) for each."""
        position = 0
        while match := STATEMENT.match(self.body, position):
            yield match.lastgroup, " ".join(match[match.lastgroup].split())
            position = match.end()
        if self.body[position:].strip():
            raise Unknown(self.body[position:])


def read_entry(head, body):
    match = ENTRY.search(head)
    parameters, size = [], 0
    for text in filter(str.strip, match["parameters"].split(",")):
        parameter = read_variable(text)
        place = -(-size // parameter.align) * parameter.align
        parameters.append((parameter, place))
        size = place + parameter.bytes
    threads = 0
    if bounds := re.search(r"\.(?:maxntid|reqntid)\s+([\d\s,]+)", match["bounds"]):
        threads = 1
        for extent in bounds[1].split(","):
            threads *= int(extent)
    return Entry(match["name"], parameters, size, threads, body)


class Module:
    def __init__(self, text):
        self.entries, self.variables = {}, {}
        text = DIRECTIVE.sub("", COMMENT.sub("", text))
        for head, body in items(text):
            if ".entry" in head:
                entry = read_entry(head, body)
                self.entries[entry.name] = entry
            elif ".func" not in head and not head.startswith(".pragma"):
                variable = read_variable(head)
                self.variables[variable.name] = variable
