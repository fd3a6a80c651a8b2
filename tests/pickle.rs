//! Pickles as Python writes them, and as it never would.

use partial_res::formats::pickle::{Limits, Node, Pickle, PickleError, Value, read_index};

/// `v = {"a": [1, -2, 300, 70000, 2**40, -(2**62), 3.5, None, True, False, ("t",), (), (1, 2), (1, 2, 3),
/// (1, 2, 3, 4)], "ü€": {"x": "y"}}; v["again"] = v["a"]`, by Python's `pickle.dumps(v, protocol)`.
const PROTOCOLS: [&[u8]; 5] = [
    b"(dp0\nVa\np1\n(lp2\nI1\naI-2\naI300\naI70000\naL1099511627776L\naL-4611686018427387904L\naF3.5\naNaI01\naI00\na(Vt\np3\ntp4\na(ta(I1\nI2\ntp5\na(I1\nI2\nI3\ntp6\na(I1\nI2\nI3\nI4\ntp7\nasV\xfc\\u20ac\np8\n(dp9\nVx\np10\nVy\np11\nssVagain\np12\ng2\ns.",
    b"}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00L1099511627776L\nL-4611686018427387904L\nG@\x0c\x00\x00\x00\x00\x00\x00NI01\nI00\n(X\x01\x00\x00\x00tq\x03tq\x04)(K\x01K\x02tq\x05(K\x01K\x02K\x03tq\x06(K\x01K\x02K\x03K\x04tq\x07eX\x05\x00\x00\x00\xc3\xbc\xe2\x82\xacq\x08}q\x09X\x01\x00\x00\x00xq\nX\x01\x00\x00\x00yq\x0bsX\x05\x00\x00\x00againq\x0ch\x02u.",
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x08\x00\x00\x00\x00\x00\x00\x00\xc0G@\x0c\x00\x00\x00\x00\x00\x00N\x88\x89X\x01\x00\x00\x00tq\x03\x85q\x04)K\x01K\x02\x86q\x05K\x01K\x02K\x03\x87q\x06(K\x01K\x02K\x03K\x04tq\x07eX\x05\x00\x00\x00\xc3\xbc\xe2\x82\xacq\x08}q\x09X\x01\x00\x00\x00xq\nX\x01\x00\x00\x00yq\x0bsX\x05\x00\x00\x00againq\x0ch\x02u.",
    b"\x80\x04\x95w\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x08\x00\x00\x00\x00\x00\x00\x00\xc0G@\x0c\x00\x00\x00\x00\x00\x00N\x88\x89\x8c\x01t\x94\x85\x94)K\x01K\x02\x86\x94K\x01K\x02K\x03\x87\x94(K\x01K\x02K\x03K\x04t\x94e\x8c\x05\xc3\xbc\xe2\x82\xac\x94}\x94\x8c\x01x\x94\x8c\x01y\x94s\x8c\x05again\x94h\x02u.",
    b"\x80\x05\x95w\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x08\x00\x00\x00\x00\x00\x00\x00\xc0G@\x0c\x00\x00\x00\x00\x00\x00N\x88\x89\x8c\x01t\x94\x85\x94)K\x01K\x02\x86\x94K\x01K\x02K\x03\x87\x94(K\x01K\x02K\x03K\x04t\x94e\x8c\x05\xc3\xbc\xe2\x82\xac\x94}\x94\x8c\x01x\x94\x8c\x01y\x94s\x8c\x05again\x94h\x02u.",
];

fn read(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    Pickle::read(bytes, &[("collections", "OrderedDict")], Limits::default())
}

/// As Python would print it. The pickles at hand have no circles.
fn print(pickle: &Pickle, value: Value) -> String {
    let list = |items: &[Value]| items.iter().map(|&item| print(pickle, item)).collect::<Vec<_>>().join(", ");
    let dict = |pairs: &[(Value, Value)]| {
        let pairs =
            pairs.iter().map(|&(key, value)| format!("{}: {}", print(pickle, key), print(pickle, value)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    match value {
        Value::Int(value) => value.to_string(),
        Value::Ref(_) => match pickle.node(value).unwrap() {
            Node::Text(text) => format!("{text:?}"),
            Node::OldText(text) => format!("old {:?}", std::str::from_utf8(text).unwrap()),
            Node::List(items) => format!("[{}]", list(items)),
            Node::Tuple(items) => format!("({})", list(items)),
            Node::Dict(pairs) => format!("{{{}}}", dict(pairs)),
            Node::Global(place) => format!("global {place}"),
            Node::Object(object) => {
                let (callable, arguments) = (print(pickle, object.callable), print(pickle, object.arguments));
                format!("{callable}{arguments}{{{}}}", dict(&object.pairs))
            }
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn every_protocol_gives_the_same() {
    let list = "[1, -2, 300, 70000, 1099511627776, -4611686018427387904, Float(3.5), None, Bool(true), Bool(false), \
                (\"t\"), (), (1, 2), (1, 2, 3), (1, 2, 3, 4)]";
    let expected = format!("{{\"a\": {list}, \"ü€\": {{\"x\": \"y\"}}, \"again\": {list}}}");
    for bytes in PROTOCOLS {
        let pickle = read(bytes).unwrap();
        assert_eq!(print(&pickle, pickle.root()), expected);
        assert_eq!(pickle.length(), bytes.len());
        // A value that is used twice is stored once.
        let pairs = pickle.pairs(pickle.root()).unwrap();
        assert_eq!(pairs[0].1, pairs[2].1);
    }
}

#[test]
fn text_of_python_2_is_read() {
    // pickle.dumps({"it's": u"caf\u00e9"}, 0) and (…, 2) of Python 2.
    for bytes in [
        b"(dp0\nS\"it's\"\np1\nVcaf\xe9\np2\ns." as &[u8],
        b"\x80\x02}q\x00U\x04it'sq\x01X\x05\x00\x00\x00caf\xc3\xa9q\x02s.",
    ] {
        let pickle = read(bytes).unwrap();
        assert_eq!(print(&pickle, pickle.root()), "{old \"it's\": \"café\"}");
    }
}

#[test]
fn calls_are_remembered_and_never_made() {
    let bytes = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00aq\x02K\x01X\x01\x00\x00\x00bq\x03K\x02u.";
    let pickle = read(bytes).unwrap();
    assert_eq!(print(&pickle, pickle.root()), "global 0(){\"a\": 1, \"b\": 2}");
    for (bytes, module, name) in [
        (b"cos\nsystem\n(S'true'\ntR." as &[u8], "os", "system"),
        (b"\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.", "builtins", "eval"),
        (b"(S'true'\nios\nsystem\n.", "os", "system"),
        (b"(cos\nsystem\nS'true'\no.", "os", "system"),
        (b"cposix\nsystem\n(S'true'\ntR.", "posix", "system"),
        (b"csubprocess\nPopen\n(S'true'\ntR.", "subprocess", "Popen"),
        (b"cbuiltins\ngetattr\n(S'x'\nS'y'\ntR.", "builtins", "getattr"),
        // Of an allowed module, too, only what is named is allowed.
        (b"ccollections\nabc\n)R.", "collections", "abc"),
        (b"ccollections\nOrderedDict.fromkeys\n)R.", "collections", "OrderedDict.fromkeys"),
    ] {
        assert_eq!(
            read(bytes),
            Err(PickleError::Global { module: module.to_owned(), name: name.to_owned() })
        );
    }
}

#[test]
fn a_pickle_cut_anywhere_is_an_error() {
    for bytes in PROTOCOLS {
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length} of {bytes:?}");
        }
    }
}

#[test]
fn hostile_pickles_are_answered() {
    type Check = fn(PickleError) -> bool;
    let cases: [(&[u8], Check); 13] = [
        (b"K", |e| matches!(e, PickleError::Truncated { position: 1 })),
        (b"\xff.", |e| matches!(e, PickleError::Opcode { position: 0, found: 0xff })),
        (b"\x80\x06N.", |e| matches!(e, PickleError::Protocol { found: 6, .. })),
        (b".", |e| matches!(e, PickleError::Stack { .. })),
        (b"N(a.", |e| matches!(e, PickleError::Stack { .. })),
        (b"](Ns.", |e| matches!(e, PickleError::Stack { .. })),
        (b"}(Nu.", |e| matches!(e, PickleError::Stack { expected: "a value for each key", .. })),
        (b"h\x07.", |e| matches!(e, PickleError::Memo { index: 7, .. })),
        (b"\x8a\x09123456789.", |e| matches!(e, PickleError::BigInteger { bytes: 9, .. })),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", |e| matches!(e, PickleError::Truncated { .. })),
        (b"\x8c\x01\xff.", |e| matches!(e, PickleError::Literal { what: "UTF-8 text", .. })),
        (b"I12x\n.", |e| matches!(e, PickleError::Literal { .. })),
        (b"\x97.", |e| matches!(e, PickleError::Unsupported { .. })),
    ];
    for (bytes, check) in cases {
        let error = read(bytes).unwrap_err();
        assert!(check(error.clone()), "{bytes:?}: {error}");
    }
}

#[test]
fn size_is_bounded_and_nesting_does_no_harm() {
    // A list of the list before, twice, a thousand times over: 2^1000 in print.
    let mut doubling = b"]\x94".to_vec();
    for _ in 0..1000 {
        doubling.extend(b"]\x94j\0\0\0\0\x85ah\0a");
    }
    doubling.push(b'.');
    assert!(read(&doubling).is_ok());

    let mut nested = vec![b')'];
    nested.extend(vec![0x85; 1_000_000]);
    nested.push(b'.');
    assert!(read(&nested).is_ok());
    nested.splice(0..0, vec![b')'; 100_000]);
    assert_eq!(read(&nested), Err(PickleError::Limit { what: "values", limit: Limits::default().nodes }));

    let marks = vec![b'('; 20_000];
    assert!(matches!(read(&marks), Err(PickleError::Limit { what: "open marks", .. })));
    for (few, what) in [
        (Limits { bytes: 9, ..Limits::default() }, "bytes"),
        (Limits { instructions: 9, ..Limits::default() }, "instructions"),
        (Limits { memo: 9, ..Limits::default() }, "stored values"),
        (Limits { nodes: 9, ..Limits::default() }, "values"),
    ] {
        let read = Pickle::read(PROTOCOLS[0], &[], few).map(|_| ());
        assert_eq!(read, Err(PickleError::Limit { what, limit: 9 }));
    }
}

#[test]
fn an_index_is_words_and_numbers() {
    assert_eq!(read_index(b"}(X\x01\x00\x00\x00aK\x07u.").unwrap(), [("a".to_owned(), 7)]);
    for (bytes, expected) in [
        (b"]." as &[u8], "the pickle is a list of 0, expected a dict"),
        (b"}(K\x01K\x02u.", "the integer 1 has the integer 2, expected a word"),
        (b"}.}.", "2 bytes follow"),
    ] {
        let message = read_index(bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
