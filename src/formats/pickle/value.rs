use std::borrow::Cow;

/// Number of a [`Node`] in its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

/// A value; anything that takes room is a reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Ref(NodeId),
}

/// What a reference refers to. `'a` is the life of the file's bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// A `str` of Python 2, whose encoding the file doesn't say.
    OldText(Cow<'a, [u8]>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Set(Vec<Value>),
    /// Pairs in the order of the file; a key may come twice.
    Dict(Vec<(Value, Value)>),
    /// A class or function, by its place in the caller's list.
    Global(usize),
    /// A thing outside of the pickle (PyTorch's storages), by its description.
    Persistent(Value),
    Object(Box<Object>),
}

/// A call that Python would have made, and what would have been put into its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub callable: Value,
    /// A tuple.
    pub arguments: Value,
    /// Keyword arguments, a dict.
    pub keywords: Option<Value>,
    /// What `__setstate__` or the attributes would get.
    pub state: Option<Value>,
    /// Appended to a list-like object.
    pub items: Vec<Value>,
    /// Set in a dict-like object.
    pub pairs: Vec<(Value, Value)>,
}

/// A pickle that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Pickle<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Value,
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// What the pickle stands for.
    pub fn root(&self) -> Value {
        self.root
    }

    /// Bytes from the first to the last instruction; others may follow.
    pub fn length(&self) -> usize {
        self.length
    }

    /// All values that are references' aims, in the order they were made.
    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// What the value refers to, if it is a reference.
    pub fn node(&self, value: Value) -> Option<&Node<'a>> {
        match value {
            Value::Ref(NodeId(id)) => self.nodes.get(id as usize),
            _ => None,
        }
    }

    /// The value as text; a Python 2 `str` counts if it is UTF-8.
    pub fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            Node::OldText(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The pairs of a dict, or of a dict-like object.
    pub fn pairs(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(pairs) => Some(pairs),
            Node::Object(object) => Some(&object.pairs),
            _ => None,
        }
    }

    /// The items of a list, a tuple or a set.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The value in a few words, for messages.
    pub fn describe(&self, value: Value) -> String {
        match (value, self.node(value)) {
            (Value::None, _) => "None".to_owned(),
            (Value::Bool(value), _) => format!("the boolean {value}"),
            (Value::Int(value), _) => format!("the integer {value}"),
            (Value::Float(value), _) => format!("the number {value}"),
            (Value::Ref(_), Some(Node::Text(text))) => {
                format!("the text \"{}\"", text.chars().take(40).collect::<String>())
            }
            (Value::Ref(_), Some(Node::Bytes(bytes) | Node::OldText(bytes))) => {
                format!("{} bytes", bytes.len())
            }
            (Value::Ref(_), Some(Node::List(items))) => format!("a list of {}", items.len()),
            (Value::Ref(_), Some(Node::Tuple(items))) => format!("a tuple of {}", items.len()),
            (Value::Ref(_), Some(Node::Set(items))) => format!("a set of {}", items.len()),
            (Value::Ref(_), Some(Node::Dict(pairs))) => format!("a dict of {}", pairs.len()),
            (Value::Ref(_), Some(Node::Global(_))) => "a class or function".to_owned(),
            (Value::Ref(_), Some(Node::Persistent(_))) => "a reference out of the pickle".to_owned(),
            (Value::Ref(_), Some(Node::Object(_))) => "an object".to_owned(),
            (Value::Ref(_), None) => "nothing".to_owned(),
        }
    }
}
