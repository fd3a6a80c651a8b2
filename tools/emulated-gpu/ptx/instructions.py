"""What instructions compute: C++ by mnemonic, in terms of the operands a, b and c as values of the instruction's type.

An instruction that has a type and no effect but its result is one line of TABLE. {T} stands for the type.
"""

import re
from collections import namedtuple

from module import Unknown

SIGNED = ("s16", "s32", "s64")
UNSIGNED = ("u16", "u32", "u64")
INTEGERS = SIGNED + UNSIGNED
BITS = ("b16", "b32", "b64")
WHOLE_FLOATS = ("f32", "f64")
FLOATS = WHOLE_FLOATS + ("bf16",)

# operands: their types where they aren't the instruction's; result likewise.
Rule = namedtuple("Rule", "expression types operands result", defaults=((), "{T}"))

TABLE = {
    "add": Rule("a + b", INTEGERS + FLOATS + ("bf16x2",)),
    "add.rn": Rule("a + b", WHOLE_FLOATS),
    "add.rz": Rule("round_to_zero(f64(a) + f64(b))", ("f32",)),
    "sub": Rule("a - b", INTEGERS + FLOATS + ("bf16x2",)),
    "sub.rn": Rule("a - b", WHOLE_FLOATS),
    "mul": Rule("a * b", FLOATS + ("bf16x2",)),
    "mul.rn": Rule("a * b", WHOLE_FLOATS),
    "mul.lo": Rule("{T}(u64(a) * u64(b))", INTEGERS),
    "mul.wide": Rule("wide<{T}>(a) * wide<{T}>(b)", ("s16", "u16", "s32", "u32"), (), "wide<{T}>"),
    "mad.lo": Rule("{T}(u64(a) * u64(b) + u64(c))", INTEGERS),
    "fma.rn": Rule("std::fma(a, b, c)", WHOLE_FLOATS),
    "fma.rm": Rule("round_down(f64(a) * f64(b) + f64(c))", ("f32",)),
    "div": Rule("quotient<{T}>(a, b)", INTEGERS),
    "div.rn": Rule("a / b", WHOLE_FLOATS),
    "div.approx": Rule("a / b", ("f32",)),
    "rem": Rule("remainder_of<{T}>(a, b)", INTEGERS),
    "neg": Rule("-a", SIGNED + FLOATS),
    "abs": Rule("std::abs(a)", FLOATS),
    "copysign": Rule("std::copysign(b, a)", WHOLE_FLOATS),
    "min": Rule("smaller(a, b)", INTEGERS + WHOLE_FLOATS),
    "min.NaN": Rule("smaller_or_nan(a, b)", ("f32", "bf16")),
    "max": Rule("larger(a, b)", INTEGERS + WHOLE_FLOATS),
    "max.NaN": Rule("larger_or_nan(a, b)", ("f32", "bf16")),
    "sqrt.rn": Rule("std::sqrt(a)", WHOLE_FLOATS),
    # What is approximate on a GPU is exact to rounding here.
    "sqrt.approx": Rule("std::sqrt(a)", ("f32",)),
    "rsqrt.approx": Rule("1 / std::sqrt(a)", ("f32",)),
    "rcp.rn": Rule("1 / a", WHOLE_FLOATS),
    "rcp.approx.ftz": Rule("1 / a", WHOLE_FLOATS),
    "ex2.approx": Rule("std::exp2(a)", ("f32",)),
    "ex2.approx.ftz": Rule("std::exp2(a)", ("f32",)),
    "lg2.approx": Rule("std::log2(a)", ("f32",)),
    "lg2.approx.ftz": Rule("std::log2(a)", ("f32",)),
    "and": Rule("a & b", BITS + ("pred",)),
    "or": Rule("a | b", BITS + ("pred",)),
    "xor": Rule("a ^ b", BITS + ("pred",)),
    "not": Rule("~a", BITS),
    "shl": Rule("shift_left<{T}>(a, b)", BITS, ("{T}", "u32")),
    "shr": Rule("shift_right<{T}>(a, b)", BITS + INTEGERS, ("{T}", "u32")),
    "selp": Rule("c ? a : b", BITS + INTEGERS + WHOLE_FLOATS, ("{T}", "{T}", "pred")),
    "cvta.global": Rule("a", ("u64",)),
    "cvta.to.global": Rule("a", ("u64",)),
}

# Of floats: with NaN only those ending in u, and nan, are true.
COMPARISONS = {
    "eq": "a == b", "lt": "a < b", "le": "a <= b", "gt": "a > b", "ge": "a >= b", "ne": "a < b || a > b",
    "equ": "!(a < b || a > b)", "ltu": "!(a >= b)", "leu": "!(a > b)", "gtu": "!(a <= b)", "geu": "!(a < b)",
    "neu": "!(a == b)", "num": "a == a && b == b", "nan": "a != a || b != b",
}  # fmt: skip

# By rounding: the whole number that is nearest, and so on.
TO_WHOLE = {"rni": "std::nearbyint(a)", "rzi": "std::trunc(a)", "rmi": "std::floor(a)", "rpi": "std::ceil(a)"}


def compute(mnemonic):
    """The types of the operands, the type of the result and the expression of an instruction of TABLE."""
    key, _, kind = mnemonic.rpartition(".")
    rule = TABLE.get(key)
    if not rule or kind not in rule.types:
        raise Unknown(mnemonic)
    count = 1 + "abc".index(max(re.findall(r"\b[abc]\b", rule.expression)))
    operands = (rule.operands or ("{T}",) * count)[:count]
    return [operand.format(T=kind) for operand in operands], rule.result.format(T=kind), rule.expression.format(T=kind)


def compare(mnemonic):
    """The type of the operands and the expression of setp."""
    _, comparison, kind = mnemonic.split(".")
    if kind not in INTEGERS + BITS + FLOATS or comparison not in COMPARISONS:
        raise Unknown(mnemonic)
    if kind not in FLOATS and len(comparison) > 2:
        raise Unknown(mnemonic)
    return kind, COMPARISONS[comparison]


def convert(mnemonic):
    """The types of operand and result, and the expression, of cvt."""
    *how, to, kind = mnemonic.split(".")[1:]
    integers = INTEGERS + ("u8", "s8")
    known = {
        (True, True): ("rn", "sat", *TO_WHOLE),
        (True, False): TO_WHOLE,
        (False, True): ("rn",),
        (False, False): (),
    }[kind in FLOATS, to in FLOATS]
    if kind not in integers + FLOATS or to not in integers + FLOATS or len(how) > 1 or not set(how) <= set(known):
        raise Unknown(mnemonic)
    expression = "saturate(a)" if how == ["sat"] else TO_WHOLE.get("".join(how), "a")
    if kind in FLOATS and to not in FLOATS:
        if not how:
            raise Unknown(mnemonic)
        expression = f"to_integer<{to}>({expression})"
    return kind, to, expression
