//! The stack machine. Names of instructions are those of Python's `pickletools`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::bytes::{Bytes, long, raw_unicode, string_literal};
use super::{Allowed, Limits, Node, NodeId, Object, Pickle, PickleError, Value};

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`; [`Pickle::length`] tells where it ends.
    pub fn read(bytes: &'a [u8], allowed: Allowed, limits: Limits) -> Result<Self, PickleError> {
        // One byte more, so that a pickle that goes beyond the limit isn't reported as cut.
        let visible = &bytes[..bytes.len().min(limits.bytes.saturating_add(1))];
        let mut machine = Machine {
            bytes: Bytes::new(visible),
            at: 0,
            allowed,
            limits,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            nodes: Vec::new(),
        };
        for _ in 0..limits.instructions {
            let step = machine.step();
            if machine.bytes.position > limits.bytes || (step.is_err() && bytes.len() > visible.len()) {
                return Err(PickleError::Limit { what: "bytes", limit: limits.bytes });
            }
            if let Some(root) = step? {
                return Ok(Self { nodes: machine.nodes, root, length: machine.bytes.position });
            }
        }
        Err(PickleError::Limit { what: "instructions", limit: limits.instructions })
    }
}

pub(super) struct Machine<'a, 'l> {
    bytes: Bytes<'a>,
    /// Where the instruction at hand begins.
    at: usize,
    allowed: Allowed<'l>,
    limits: Limits,
    pub(super) stack: Vec<Value>,
    /// Lengths of the stack at the marks.
    pub(super) marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    pub(super) nodes: Vec<Node<'a>>,
}

impl<'a> Machine<'a, '_> {
    /// One instruction; the result once the last is reached.
    fn step(&mut self) -> Result<Option<Value>, PickleError> {
        self.at = self.bytes.position;
        let opcode = self.bytes.byte()?;
        match opcode {
            // PROTO, FRAME, STOP
            0x80 => {
                let found = self.bytes.byte()?;
                if found > 5 {
                    return Err(PickleError::Protocol { position: self.at, found });
                }
            }
            0x95 => drop(self.bytes.take(8)?),
            b'.' => return self.pop().map(Some),

            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.count("open marks", self.marks.len(), self.limits.marks)?;
                self.marks.push(self.stack.len());
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = *self.top()?;
                self.stack.push(top);
            }

            // NONE, NEWTRUE, NEWFALSE, and numbers
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a | 0x8b | b'I' | b'L' | b'G' | b'F' => {
                let number = self.number(opcode)?;
                self.stack.push(number);
            }

            // Text: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, UNICODE
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'V' => {
                let line = self.bytes.line()?;
                let text = raw_unicode(line).ok_or_else(|| self.literal("unicode string"))?;
                self.add(Node::Text(Cow::Owned(text)))?;
            }
            // Bytes: BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' | b'C' | 0x8e | 0x96 => {
                let bytes = self.bytes.counted(match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.add(Node::Bytes(Cow::Borrowed(bytes)))?;
            }
            // Python 2: BINSTRING, SHORT_BINSTRING, STRING
            b'T' | b'U' => {
                let bytes = self.bytes.counted(if opcode == b'T' { 4 } else { 1 })?;
                self.add(Node::OldText(Cow::Borrowed(bytes)))?;
            }
            b'S' => {
                let line = self.bytes.line()?;
                let text = string_literal(line).ok_or_else(|| self.literal("string"))?;
                self.add(Node::OldText(Cow::Owned(text)))?;
            }

            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_DICT, EMPTY_SET
            b']' => self.add(Node::List(Vec::new()))?,
            b')' => self.add(Node::Tuple(Vec::new()))?,
            b'}' => self.add(Node::Dict(Vec::new()))?,
            0x8f => self.add(Node::Set(Vec::new()))?,
            // LIST, TUPLE, FROZENSET, DICT
            b'l' => self.collect(Node::List)?,
            b't' => self.collect(Node::Tuple)?,
            0x91 => self.collect(Node::Set)?,
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(items)?;
                self.add(Node::Dict(pairs))?;
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.add(Node::Tuple(items))?;
            }
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' => {
                let items = self.pop_many(1)?;
                self.extend(items)?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set(items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(items)?;
            }

            // PUT, BINPUT, LONG_BINPUT, MEMOIZE
            b'p' | b'q' | b'r' => {
                let index = self.memo_index(opcode == b'p', opcode == b'q')?;
                self.store(index)?;
            }
            0x94 => self.store(self.memo.len() as u32)?,
            // GET, BINGET, LONG_BINGET
            b'g' | b'h' | b'j' => {
                let index = self.memo_index(opcode == b'g', opcode == b'h')?;
                let missing = PickleError::Memo { position: self.at, index };
                let value = *self.memo.get(&index).ok_or(missing)?;
                self.stack.push(value);
            }

            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let module = self.bytes.text_line("module name")?;
                let name = self.bytes.text_line("name")?;
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let [module, name] = [self.name(names[0])?, self.name(names[1])?];
                self.global(&module, &name)?;
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'R' | 0x81 => {
                let parts = self.pop_many(2)?;
                self.call(parts[0], parts[1], None)?;
            }
            0x92 => {
                let parts = self.pop_many(3)?;
                self.call(parts[0], parts[1], Some(parts[2]))?;
            }
            b'b' => {
                let state = self.pop()?;
                match self.top_node()? {
                    Node::Object(object) => object.state = Some(state),
                    _ => return Err(self.expected("an object to give a state to")),
                }
            }
            // INST, OBJ
            b'i' => {
                let module = self.bytes.text_line("module name")?;
                let name = self.bytes.text_line("name")?;
                let arguments = self.pop_mark()?;
                self.global(module, name)?;
                self.call_with(arguments)?;
            }
            b'o' => {
                let mut parts = self.pop_mark()?;
                if parts.is_empty() {
                    return Err(self.expected("a class after the mark"));
                }
                self.stack.push(parts.remove(0));
                self.call_with(parts)?;
            }
            // PERSID, BINPERSID
            b'P' => {
                let id = self.bytes.text_line("identifier")?;
                self.add(Node::Text(Cow::Borrowed(id)))?;
                let id = self.pop()?;
                self.add(Node::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.add(Node::Persistent(id))?;
            }

            0x82..=0x84 => return Err(self.unsupported("an extension code")),
            0x97 | 0x98 => return Err(self.unsupported("a buffer outside of the pickle")),
            found => return Err(PickleError::Opcode { position: self.at, found }),
        }
        Ok(None)
    }

    /// BININT1, BININT2, BININT, LONG1, LONG4, INT, LONG, BINFLOAT, FLOAT
    fn number(&mut self, opcode: u8) -> Result<Value, PickleError> {
        Ok(match opcode {
            b'K' => Value::Int(i64::from(self.bytes.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.bytes.array()?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.bytes.array()?))),
            0x8a => Value::Int(long(self.bytes.counted(1)?, self.at)?),
            0x8b => Value::Int(long(self.bytes.counted(4)?, self.at)?),
            b'G' => Value::Float(f64::from_be_bytes(self.bytes.array()?)),
            b'F' => {
                let number = self.bytes.text_line("number")?.parse();
                Value::Float(number.map_err(|_| self.literal("number"))?)
            }
            _ => match self.bytes.text_line("integer")? {
                "00" if opcode == b'I' => Value::Bool(false),
                "01" if opcode == b'I' => Value::Bool(true),
                digits => {
                    let digits = digits.strip_suffix('L').unwrap_or(digits);
                    Value::Int(digits.parse().map_err(|_| self.literal("integer of 8 bytes"))?)
                }
            },
        })
    }

    fn add(&mut self, node: Node<'a>) -> Result<(), PickleError> {
        self.count("values", self.nodes.len(), self.limits.nodes.min(u32::MAX as usize))?;
        self.stack.push(Value::Ref(NodeId(self.nodes.len() as u32)));
        self.nodes.push(node);
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), PickleError> {
        let text = self.bytes.counted_text(width)?;
        self.add(Node::Text(Cow::Borrowed(text)))
    }

    fn collect(&mut self, node: fn(Vec<Value>) -> Node<'a>) -> Result<(), PickleError> {
        let items = self.pop_mark()?;
        self.add(node(items))
    }

    /// Puts items into the list, set or list-like object on top.
    fn extend(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        match self.top_node()? {
            Node::List(list) | Node::Set(list) => list.extend(items),
            Node::Object(object) => object.items.extend(items),
            _ => return Err(self.expected("a list to append to")),
        }
        Ok(())
    }

    /// Puts keys and values, in turn, into the dict or dict-like object on top.
    fn set(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let pairs = self.pairs(items)?;
        match self.top_node()? {
            Node::Dict(dict) => dict.extend(pairs),
            Node::Object(object) => object.pairs.extend(pairs),
            _ => return Err(self.expected("a dict to put items into")),
        }
        Ok(())
    }

    fn pairs(&self, items: Vec<Value>) -> Result<Vec<(Value, Value)>, PickleError> {
        if !items.len().is_multiple_of(2) {
            return Err(self.expected("a value for each key"));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        match self.allowed.iter().position(|&allowed| allowed == (module, name)) {
            Some(place) => self.add(Node::Global(place)),
            None => {
                let short = |text: &str| text.chars().take(100).collect();
                Err(PickleError::Global { module: short(module), name: short(name) })
            }
        }
    }

    /// The text that names a module or a member of it.
    fn name(&self, value: Value) -> Result<Cow<'a, str>, PickleError> {
        match value {
            Value::Ref(NodeId(id)) => match &self.nodes[id as usize] {
                // Borrowed from the file, except in pickles of protocol 0, which have no STACK_GLOBAL.
                Node::Text(text) => Ok(text.clone()),
                _ => Err(self.expected("a name")),
            },
            _ => Err(self.expected("a name")),
        }
    }

    fn call(
        &mut self,
        callable: Value,
        arguments: Value,
        keywords: Option<Value>,
    ) -> Result<(), PickleError> {
        let is = |value: Value, wanted: fn(&Node) -> bool| match value {
            Value::Ref(NodeId(id)) => wanted(&self.nodes[id as usize]),
            _ => false,
        };
        // The result of a call can't be called: no class or function that is read returns one.
        if !is(callable, |node| matches!(node, Node::Global(_))) {
            return Err(self.expected("a class or function to call"));
        }
        if !is(arguments, |node| matches!(node, Node::Tuple(_))) {
            return Err(self.expected("a tuple of arguments"));
        }
        if keywords.is_some_and(|keywords| !is(keywords, |node| matches!(node, Node::Dict(_)))) {
            return Err(self.expected("a dict of keyword arguments"));
        }
        let object =
            Object { callable, arguments, keywords, state: None, items: Vec::new(), pairs: Vec::new() };
        self.add(Node::Object(Box::new(object)))
    }

    /// Calls what is on top.
    fn call_with(&mut self, arguments: Vec<Value>) -> Result<(), PickleError> {
        let callable = self.pop()?;
        self.add(Node::Tuple(arguments))?;
        let arguments = self.pop()?;
        self.call(callable, arguments, None)
    }

    fn memo_index(&mut self, line: bool, short: bool) -> Result<u32, PickleError> {
        if line {
            let digits = self.bytes.text_line("memo number")?;
            digits.parse().map_err(|_| self.literal("memo number"))
        } else if short {
            self.bytes.byte().map(u32::from)
        } else {
            self.bytes.array().map(u32::from_le_bytes)
        }
    }

    fn store(&mut self, index: u32) -> Result<(), PickleError> {
        self.count("stored values", self.memo.len(), self.limits.memo)?;
        let top = *self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn count(&self, what: &'static str, present: usize, limit: usize) -> Result<(), PickleError> {
        if present < limit { Ok(()) } else { Err(PickleError::Limit { what, limit }) }
    }

    pub(super) fn expected(&self, expected: &'static str) -> PickleError {
        PickleError::Stack { position: self.at, expected }
    }

    fn literal(&self, what: &'static str) -> PickleError {
        PickleError::Literal { position: self.at, what }
    }

    fn unsupported(&self, what: &'static str) -> PickleError {
        PickleError::Unsupported { position: self.at, what }
    }
}
