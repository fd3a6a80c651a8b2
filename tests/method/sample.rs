//! `sample`: which referents keep their masks.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{DATASET, data, fail, file, read, records, succeed};

#[test]
fn samples_are_nested_and_leave_everything_else_as_it_is() {
    let (_folder, root) = data();
    let said = succeed(&["sample", "--ratio", "5,20,50", "--dataset", DATASET, "--seed", "3"], &root);
    assert!(said.contains("instances_sample_5.json:"), "{said}");
    let all = read(&root, "instances.json");
    let whole: BTreeSet<String> = records(&all, "train").into_iter().collect();
    let mut smaller = BTreeSet::new();
    for ratio in [5, 20, 50] {
        let sample = read(&root, &format!("instances_sample_{ratio}.json"));
        let drawn = records(&sample, "train");
        assert_eq!(drawn.len(), (whole.len() as f64 * f64::from(ratio) / 100.0).round() as usize);
        let drawn: BTreeSet<String> = drawn.into_iter().collect();
        assert!(smaller.is_subset(&drawn) && drawn.is_subset(&whole));
        smaller = drawn;
        assert_eq!(sample.splits().collect::<Vec<_>>(), all.splits().collect::<Vec<_>>());
        for split in ["val", "testA", "testB"] {
            assert_eq!(records(&sample, split), records(&all, split));
        }
        let provenance = fs::read(file(&root, &format!("instances_sample_{ratio}.provenance.json"))).unwrap();
        let provenance: Value = serde_json::from_slice(&provenance).unwrap();
        assert_eq!((&provenance["seed"], &provenance["ratio"]), (&3.into(), &ratio.into()));
        assert_eq!(provenance["source_sha256"], partial_res::pseudo::sha256(all.text()));
    }
    let before = fs::read(file(&root, "instances_sample_5.json")).unwrap();
    let error = fail(&["sample", "--ratio", "1,5", "--dataset", DATASET], &root);
    assert!(error.contains("instances_sample_5.json exists already; --force replaces it"), "{error}");
    assert!(!file(&root, "instances_sample_1.json").exists(), "all files or none");
    fail(&["sample", "--ratio", "1,200", "--dataset", DATASET], &root);
    assert!(!file(&root, "instances_sample_1.json").exists(), "all files or none");
    succeed(&["sample", "--ratio", "40,30,40", "--dataset", DATASET], &root);
    succeed(&["sample", "--ratio", "5", "--dataset", DATASET, "--force"], &root);
    assert_ne!(fs::read(file(&root, "instances_sample_5.json")).unwrap(), before, "another seed");
    let error = fail(&["sample", "--ratio", "0", "--dataset", DATASET], &root);
    assert!(error.contains("0 % is no share to label; expected 1 to 100"), "{error}");
    let error = fail(&["sample", "--dataset", "refcoco"], &root);
    assert!(error.contains("no data set `refcoco`") && error.contains(DATASET), "{error}");
}
