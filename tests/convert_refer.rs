//! `convert refer`: pickles of Python 2, protocols 0 and 2, and a COCO file.

use std::fs;
use std::path::Path;

use partial_res::convert::{ConvertError, Counts, Output, ReferReport, ReferRequest, convert_refer};
use partial_res::data::Annotations;

/// ref_id, ann_id, image_id, split, sentences.
type Ref = (u64, u64, u64, &'static str, &'static [&'static str]);

/// With sentences that have no word.
const REFS: [Ref; 4] = [
    (0, 10, 7, "train", &["the ape", "", "left ape"]),
    (1, 11, 7, "val", &["caf\u{e9} table", "?", "round table"]),
    (2, 12, 8, "testA", &["man"]),
    (3, 99, 7, "train", &["..."]),
];

/// As Python 2 writes `[{…}, …]`: text of bytes, long integers where `protocol` is 0.
fn pickle(protocol: u8, refs: &[Ref]) -> Vec<u8> {
    let mut code = if protocol == 2 { b"\x80\x02](".to_vec() } else { b"(l(".to_vec() };
    let text = |text: &str, code: &mut Vec<u8>| match protocol {
        2 => {
            // Latin-1, which is no UTF-8.
            let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
            code.extend([b'U', bytes.len() as u8]);
            code.extend(bytes);
        }
        _ => code.extend(format!("S'{}'\n", text.replace('\u{e9}', "\\xe9")).into_bytes()),
    };
    let number = |number: u64, code: &mut Vec<u8>| match protocol {
        2 => code.extend([b'J', number as u8, 0, 0, 0]),
        _ => code.extend(format!("L{number}L\n").into_bytes()),
    };
    let empty = |kind: u8, code: &mut Vec<u8>| match protocol {
        2 => code.push(kind),
        _ => code.extend([b'(', if kind == b'}' { b'd' } else { b'l' }]),
    };
    for &(ref_id, ann_id, image_id, split, sentences) in refs {
        empty(b'}', &mut code);
        code.push(b'(');
        for (key, value) in [("ref_id", ref_id), ("ann_id", ann_id), ("image_id", image_id)] {
            text(key, &mut code);
            number(value, &mut code);
        }
        text("split", &mut code);
        text(split, &mut code);
        text("sentences", &mut code);
        empty(b']', &mut code);
        code.push(b'(');
        for sentence in sentences {
            empty(b'}', &mut code);
            for (key, value) in [("raw", "Raw!"), ("sent", *sentence)] {
                text(key, &mut code);
                text(value, &mut code);
                code.push(b's');
            }
        }
        code.extend(b"eu");
    }
    code.extend(b"e.");
    code
}

const COCO: &str = r#"{"info": {"a": [1, {"b": 2}]}, "images": [
    {"id": 7, "width": 40, "height": 30, "file_name": "x.jpg"}, {"id": 8, "width": 10, "height": 10}],
    "annotations": [
    {"id": 10, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10.5, 4], "segmentation": [[1, 2, 11, 2, 11, 6]], "area": 9},
    {"id": 99, "image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1], "segmentation": [[0, 0, 1, 0, 1, 1]]},
    {"id": 11, "image_id": 7, "category_id": 4, "bbox": [0, 0, 40, 30], "segmentation": {"size": [30, 40], "counts": [0, 1200]}},
    {"id": 12, "image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": [[0, 0, 1, 0, 1, 1]]}],
    "categories": []}"#;

fn convert(folder: &Path, refs: &[u8], coco: &str) -> Result<ReferReport, ConvertError> {
    let (refs_path, instances) = (folder.join("refs(unc).p"), folder.join("coco.json"));
    fs::write(&refs_path, refs).unwrap();
    fs::write(&instances, coco).unwrap();
    convert_refer(&ReferRequest {
        refs: &refs_path,
        instances: &instances,
        dataset: "refcoco-unc",
        out: &folder.join("instances.json"),
        output: Output { force: true },
    })
}

#[test]
fn train_goes_by_referent_and_the_rest_by_expression() {
    for protocol in [0, 2] {
        let folder = tempfile::tempdir().unwrap();
        let report = convert(folder.path(), &pickle(protocol, &REFS), COCO).unwrap();
        let counts = |expressions, referents, images| Counts { expressions, referents, images };
        let splits = [("train", counts(4, 2, 1)), ("val", counts(3, 1, 1)), ("testA", counts(1, 1, 1))];
        assert_eq!(report.splits, splits.map(|(name, counts)| (name.to_owned(), counts)));
        assert_eq!(report.wordless, 3);
        assert!(report.to_string().contains("left out of the file: 3"), "{report}");
        assert!(report.to_string().contains("val is published with 10834 expressions"), "{report}");

        let annotations = Annotations::read(&folder.path().join("instances.json")).unwrap();
        assert_eq!(annotations.splits().collect::<Vec<_>>(), ["train", "val", "testA"]);
        let expressions = |split| {
            let referents = annotations.referents(split).unwrap();
            referents.iter().map(|r| r.expressions.join("|")).collect::<Vec<_>>()
        };
        assert_eq!(expressions("train"), ["the ape|left ape"]);
        assert_eq!(expressions("val"), ["caf\u{e9} table", "round table"]);
        let record = annotations.records("train").unwrap().next().unwrap();
        assert_eq!(
            record,
            r#"{"image_id":7,"bbox":[1,2,10.5,4],"mask":[[1,2,11,2,11,6]],"expressions":["the ape","left ape"],"category_id":3,"width":40,"height":30,"ann_id":10,"data_source":"coco"}"#
        );
        assert_eq!(annotations.referents("val").unwrap()[0].rle().unwrap().area(), 1200);
    }
}

#[test]
fn files_that_do_not_belong_together_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |refs: &[u8], coco: &str| convert(folder.path(), refs, coco).unwrap_err().to_string();
    let refs = pickle(2, &REFS);
    for (refs, coco, expected) in [
        (&refs[..], COCO.replace("\"id\": 11", "\"id\": 13"), "no annotation 11, which referent 1 means"),
        (&refs[..], COCO.replace("\"id\": 8", "\"id\": 9"), "no image 8, which referent 2 means"),
        (
            &refs[..],
            COCO.replace("\"image_id\": 8", "\"image_id\": 7"),
            "annotation 12 is of image 7, referent 2 of 8",
        ),
        (&refs[..], COCO[..COCO.len() - 1].to_owned(), "EOF while parsing"),
        (&refs[..], format!("{COCO} x"), "trailing characters"),
        (&refs[..], "[]".to_owned(), "expected COCO's"),
        (b"](}e.", COCO.to_owned(), "referent 0: it has no"),
        (b"}.", COCO.to_owned(), "a dict of 0, expected a list of referents"),
        (b"cos\nsystem\n(S'true'\ntR.", COCO.to_owned(), "os.system"),
    ] {
        let message = error(refs, &coco);
        assert!(message.contains(expected), "{message}");
    }
    assert!(!folder.path().join("instances.json").exists());
}
