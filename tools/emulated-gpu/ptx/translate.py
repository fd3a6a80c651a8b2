#!/usr/bin/env python3
"""translate.py MODULE.ptx KERNEL: one kernel of a module as C++ on runtime.h, to standard output.

A thread of the GPU becomes a struct with the registers, raw bits each, as members, and one method that runs it. Where
it comes to a barrier or a shuffle the method returns, and when called again it jumps behind that place.
"""

import re
import sys

import instructions
from module import BYTES, Module, Unknown, fail, read_variable

SPECIAL = {f"%{special}.{axis}": f"c.{member}.{axis}" for axis in "xyz" for special, member in
           (("tid", "thread"), ("ntid", "threads"), ("ctaid", "block"), ("nctaid", "blocks"))}  # fmt: skip
SPECIAL["WARP_SZ"] = "32u"
REGISTER_TYPES = {"pred": "bool", 1: "u8", 2: "u16", 4: "u32", 8: "u64"}
ALL_BITS = {"bool": "true", "u8": "0xff", "u16": "0xffff", "u32": "~0u", "u64": "~0ull"}
MEMORY = re.compile(r"(ld|st)(\.volatile)?\.(?P<space>global|shared|param)(\.nc)?(\.v(?P<count>[24]))?\.(?P<type>\w+)")
SHUFFLES = {"up": "UP", "down": "DOWN", "bfly": "BUTTERFLY", "idx": "INDEX"}


def name_of(ptx):
    """A name of PTX as one of C++."""
    return re.sub(r"\W", "_", ptx.lstrip("%")) + "_"


def split_operands(text):
    """At the commas outside of braces and brackets."""
    return [part.strip() for part in re.split(r",(?![^{\[(]*[}\])])", text) if part.strip()]


class Kernel:
    def __init__(self, module, entry):
        self.module, self.entry = module, entry
        # Scopes from the outermost to the innermost open one: C++ names by PTX names.
        self.scopes, self.scopes_opened = [{}], 1
        self.members, self.code = [], []
        self.shared, self.constants = {}, {}
        self.parameters = {parameter.name: (parameter, place) for parameter, place in entry.parameters}
        # Barriers and shuffles so far.
        self.places = 0
        for kind, text in entry.statements():
            self.statement(kind, text)

    def statement(self, kind, text):
        if kind == "label":
            self.code.append(f"{name_of(text)}:;")
        elif text == "{":
            self.scopes.append({})
            self.scopes_opened += 1
        elif text == "}":
            self.scopes.pop()
        elif text.startswith(".reg"):
            self.declare_registers(text)
        elif text.startswith(".param"):
            # The arguments of a call.
            variable = read_variable(text)
            self.declare(variable.name, f"alignas(8) u8 {{name}}[{variable.bytes}];")
        elif text.startswith(".shared"):
            variable = read_variable(text)
            self.shared[variable.name] = variable
        elif not text.startswith((".pragma", ".loc")):
            self.code.append(f"// {text};")
            try:
                self.code.append(self.guarded(text))
            except Unknown as unknown:
                raise Unknown(f"{unknown}, in `{text};`") from unknown

    # ---- Declarations

    def declare(self, name, declaration):
        """A member of the struct, by a name of its own in each scope."""
        unique = name_of(name) if len(self.scopes) == 1 else f"{name_of(name)}{self.scopes_opened}"
        self.scopes[-1][name] = unique
        self.members.append(declaration.format(name=unique))

    def declare_registers(self, text):
        kind, names = re.match(r"\.reg\s*\.(\w+)\s+(.*)", text).groups()
        if kind not in BYTES:
            raise Unknown(text)
        kind = REGISTER_TYPES.get(kind) or REGISTER_TYPES[BYTES[kind]]
        for name in split_operands(names):
            if many := re.match(r"(%[\w$]+)<(\d+)>", name):
                group = [f"{many[1]}{number}" for number in range(int(many[2]))]
            else:
                group = [name]
            for register in group:
                # Poison, as memory has it.
                self.declare(register, f"{kind} {{name}} = {ALL_BITS[kind]};")

    # ---- Operands

    def declared(self, name):
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def register(self, operand):
        return self.declared(operand) or fail(operand)

    def value(self, operand):
        """The raw bits of an operand."""
        if known := SPECIAL.get(operand) or self.declared(operand):
            return known
        if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", operand):
            return f"0x{match[1]}u"
        if match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", operand):
            return f"0x{match[1]}ull"
        if re.fullmatch(r"-?(\d+|0[xX][0-9a-fA-F]+)U?", operand):
            return f"{int(operand.rstrip('U'), 0) & (2**64 - 1)}ull"
        return self.symbol(operand)

    def symbol(self, name):
        """The address of a variable."""
        variable = self.shared.get(name) or self.module.variables.get(name) or fail(name)
        if variable.space == "shared":
            self.shared[name] = variable
            return f"u64(SHARED_{name_of(name)})"
        self.constants[name] = variable
        return f"u64({name_of(name)})"

    def address(self, space, operand, size):
        """The host's address of `size` bytes of memory, checked."""
        match = re.fullmatch(r"\[\s*([\w$%]+)\s*(?:\+\s*(-?\d+))?\s*\]", operand) or fail(operand)
        base, offset = match[1], int(match[2] or 0)
        if space == "param" and base in self.parameters:
            parameter, place = self.parameters[base]
            if offset + size > parameter.bytes:
                raise Unknown(f"{operand}: outside of the parameter")
            return f"u64(c.parameters + {place + offset})"
        if space == "param":
            return f"u64({self.register(base)} + {offset})"
        whole = f"{self.value(base)} + s64({offset})"
        if space == "shared":
            whole = f"in_shared(c, {whole}, {size})"
        return f"aligned({whole}, {size})"

    # ---- Instructions

    def guarded(self, text):
        """An instruction, with the predicate that decides whether it is done."""
        match = re.match(r"@(!?)(%?[\w$]+)\s+(.*)", text)
        if not match:
            return self.instruction(text)
        places = self.places
        code = self.instruction(match[3])
        if self.places != places:
            raise Unknown("a barrier or shuffle that depends on a predicate")
        return f"if ({match[1]}{self.register(match[2])}) {{ {code} }}"

    def instruction(self, text):
        mnemonic, _, rest = text.partition(" ")
        operands = split_operands(rest)
        method = getattr(self, "do_" + mnemonic.split(".")[0], None)
        if method:
            return method(mnemonic, operands)
        kinds, result, expression = instructions.compute(mnemonic)
        return self.assign(operands, kinds, result, expression)

    def assign(self, operands, kinds, result, expression):
        to, *given = operands
        if len(given) != len(kinds):
            raise Unknown(f"{len(given)} operands instead of {len(kinds)}")
        values = [f"const auto {name} = get<{kind}>({self.value(operand)});"
                  for name, kind, operand in zip("abc", kinds, given)]  # fmt: skip
        return f"{{ {' '.join(values)} set<{result}>({self.register(to)}, {expression}); }}"

    def do_setp(self, mnemonic, operands):
        kind, expression = instructions.compare(mnemonic)
        return self.assign(operands, [kind, kind], "pred", expression)

    def do_cvt(self, mnemonic, operands):
        kind, result, expression = instructions.convert(mnemonic)
        return self.assign(operands, [kind], result, expression)

    def do_mov(self, mnemonic, operands):
        kind = mnemonic.removeprefix("mov.")
        to, given = operands
        if kind not in BYTES:
            raise Unknown(mnemonic)
        if to.startswith("{"):
            parts = split_operands(to[1:-1])
            bits = 8 * BYTES[kind] // len(parts)
            return " ".join(f"set<u{bits}>({self.register(part)}, {self.value(given)} >> {bits * place});"
                            for place, part in enumerate(parts))  # fmt: skip
        if given.startswith("{"):
            parts = split_operands(given[1:-1])
            bits = 8 * BYTES[kind] // len(parts)
            whole = " | ".join(f"u64(u{bits}({self.value(part)})) << {bits * place}"
                               for place, part in enumerate(parts))  # fmt: skip
            return f"set<u{8 * BYTES[kind]}>({self.register(to)}, {whole});"
        bits = REGISTER_TYPES.get(kind) or REGISTER_TYPES[BYTES[kind]]
        return f"set<{bits}>({self.register(to)}, get<{bits}>({self.value(given)}));"

    def memory(self, mnemonic):
        """Space, number of elements and type of a load or store."""
        match = MEMORY.fullmatch(mnemonic)
        if not match or match["type"] not in BYTES:
            raise Unknown(mnemonic)
        return match["space"], int(match["count"] or 1), match["type"]

    def do_ld(self, mnemonic, operands):
        space, count, kind = self.memory(mnemonic)
        size = BYTES[kind]
        to = split_operands(operands[0].strip("{}"))
        loads = [f"set<{kind}>({self.register(register)}, load<{kind}>(at + {place * size}));"
                 for place, register in enumerate(to) if register != "_"]  # fmt: skip
        return f"{{ const u64 at = {self.address(space, operands[1], count * size)}; {' '.join(loads)} }}"

    def do_st(self, mnemonic, operands):
        space, count, kind = self.memory(mnemonic)
        size = BYTES[kind]
        given = split_operands(operands[1].strip("{}"))
        stores = [f"store(at + {place * size}, u{8 * size}({self.value(operand)}));"
                  for place, operand in enumerate(given)]  # fmt: skip
        return f"{{ const u64 at = {self.address(space, operands[0], count * size)}; {' '.join(stores)} }}"

    def do_atom(self, mnemonic, operands):
        match = re.fullmatch(r"atom\.(global|shared)\.add\.(u32|s32|u64|f32|f64)", mnemonic) or fail(mnemonic)
        space, kind = match.groups()
        at = self.address(space, operands[1], BYTES[kind])
        return f"set<{kind}>({self.register(operands[0])}, atomic_add({at}, get<{kind}>({self.value(operands[2])})));"

    def do_bra(self, mnemonic, operands):
        return f"goto {name_of(operands[0])};"

    def do_ret(self, mnemonic, operands):
        return "return Outcome::ENDED;"

    def wait(self, outcome):
        """Leaves the method, and goes on here when it is called again."""
        self.places += 1
        return f"place = {self.places}; return Outcome::{outcome}; case {self.places}:;"

    def do_bar(self, mnemonic, operands):
        if mnemonic != "bar.sync" or operands != ["0"]:
            raise Unknown(mnemonic)
        return self.wait("AT_BARRIER")

    def do_shfl(self, mnemonic, operands):
        match = re.fullmatch(r"shfl\.sync\.(up|down|bfly|idx)\.b32", mnemonic) or fail(mnemonic)
        to, *values = operands
        given, other, clamp, mask = (f"u32({self.value(operand)})" for operand in values)
        to, _, in_range = to.partition("|")
        return (
            f"shuffle = Shuffle::{SHUFFLES[match[1]]}; "
            + f"given = {given}; other = {other}; clamp = {clamp}; mask = {mask}; "
            + self.wait("AT_SHUFFLE")
            + f" set<u32>({self.register(to)}, received);"
            + (f" set<pred>({self.register(in_range)}, in_range);" if in_range else "")
        )

    def do_call(self, mnemonic, operands):
        if operands[0] != "__assertfail":
            raise Unknown(f"call of {operands[0]}")
        message, file, line = (self.register(name) for name in split_operands(operands[1].strip("()"))[:3])
        return f"fail_assertion(load<u64>(u64({message})), load<u64>(u64({file})), load<u32>(u64({line})));"

    # ---- The whole

    def constant(self, variable):
        values = variable.values or "0"
        return f"static const u8 {name_of(variable.name)}[{variable.bytes}] = {{{values}}};"

    def shared_memory(self):
        """Where each variable begins: first those of known size, then all that take what the launch gives."""
        offset, places = 0, []
        for variable in sorted(self.shared.values(), key=lambda variable: variable.bytes == 0):
            offset = -(-offset // variable.align) * variable.align
            places.append(f"constexpr u32 SHARED_{name_of(variable.name)} = {offset};")
            offset += variable.bytes
        return places, offset

    def source(self):
        places, shared_bytes = self.shared_memory()
        sizes = [f"{parameter.bytes}, " for parameter, _ in self.entry.parameters]
        copies = [f"    memcpy(parameters + {place}, arguments[{number}], {parameter.bytes});"
                  for number, (parameter, place) in enumerate(self.entry.parameters)]  # fmt: skip
        return [
            f'#define KERNEL_NAME "{self.entry.name}"',
            '#include "runtime.h"',
            "namespace {",
            *(self.constant(variable) for variable in self.constants.values()),
            *places,
            "struct Thread : Lane {",
            f"static constexpr bool WAITS = {'true' if self.places else 'false'};",
            *self.members,
            "Outcome run(const Context &c) {",
            "switch (place) {",
            "case 0:;",
            *self.code,
            "}",
            "return Outcome::ENDED;",
            "}",
            "};",
            "void launch(void **arguments, Size3 grid, Size3 block, unsigned dynamic_shared_bytes) {",
            f"    alignas(16) u8 parameters[{max(self.entry.parameter_bytes, 1)}];",
            *copies,
            f"    run_grid<Thread>(grid, block, {shared_bytes} + dynamic_shared_bytes, parameters);",
            "}",
            f"const unsigned sizes[] = {{{''.join(sizes)}0}};",
            "}",
            'extern "C" const Kernel kernel = '
            f"{{{len(sizes)}, sizes, {shared_bytes}, {self.entry.most_threads}, launch}};",
        ]


def main():
    path, name = sys.argv[1:]
    kernel = None
    try:
        with open(path) as file:
            module = Module(file.read())
        kernel = Kernel(module, module.entries[name])
    except Unknown as unknown:
        sys.exit(f"EMULATED GPU: can't translate kernel {name}: no rule for {unknown}")
    print("\n".join(kernel.source()))


if __name__ == "__main__":
    main()
