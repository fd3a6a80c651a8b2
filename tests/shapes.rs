//! RefShapes as files: the same bytes for ever, whole folders, refusal of another tree.

use std::fs;
use std::path::{Path, PathBuf};

use partial_res::config::DataConfig;
use partial_res::data::Dataset;
use partial_res::shapes::{Manner, ShapesConfig, ShapesError, Summary, generate, made_from};
use sha2::{Digest, Sha256};

fn small(manner: Manner) -> ShapesConfig {
    ShapesConfig { manner, images: 6, val_images: 3, test_images: 2, size: 96, seed: 7 }
}

fn make(config: &ShapesConfig, root: &Path) -> Result<Summary, ShapesError> {
    generate(config, root, &|_, _| {})
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Of all names and contents under a folder.
fn hash(root: &Path) -> String {
    let mut all = Vec::new();
    files(root, &mut all);
    all.sort();
    let mut sha = Sha256::new();
    for path in all {
        sha.update(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
        sha.update(fs::read(&path).unwrap());
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Frozen: the shipped weights were trained on these pictures. A change here is a new version of
/// the data set.
#[test]
fn bytes_are_frozen() {
    let root = tempfile::tempdir().unwrap();
    for manner in [Manner::Unc, Manner::Plus, Manner::G] {
        make(&small(manner), root.path()).unwrap();
    }
    assert_eq!(hash(root.path()), "7d6119d663f729f34c692f92a849fe7f9a124617b20e1b6e666f719dce13d89c");
}

#[test]
fn threads_do_not_matter() {
    let hashes = [1, 3].map(|threads| {
        let root = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make(&small(Manner::Unc), root.path())).unwrap();
        hash(root.path())
    });
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_larger_set_begins_with_the_smaller() {
    let roots = [6, 9].map(|images| {
        let root = tempfile::tempdir().unwrap();
        make(&ShapesConfig { images, ..small(Manner::Unc) }, root.path()).unwrap();
        root
    });
    let records = |root: &Path, split: &str| {
        let text = fs::read(root.join("annotations/refshapes-unc/instances.json")).unwrap();
        let all: serde_json::Value = serde_json::from_slice(&text).unwrap();
        all[split].as_array().unwrap().clone()
    };
    let [few, many] = [0, 1].map(|i| records(roots[i].path(), "train"));
    assert!(many.len() > few.len() && many.starts_with(&few));
    for split in ["val", "testA", "testB"] {
        assert_eq!(records(roots[0].path(), split), records(roots[1].path(), split));
    }
    let image = "images/refshapes/000005.jpg";
    assert_eq!(
        fs::read(roots[0].path().join(image)).unwrap(),
        fs::read(roots[1].path().join(image)).unwrap()
    );
}

#[test]
fn what_is_there_is_used_and_another_tree_refused() {
    let root = tempfile::tempdir().unwrap();
    let first = make(&small(Manner::Unc), root.path()).unwrap();
    let before = hash(root.path());
    let again = make(&small(Manner::Unc), root.path()).unwrap();
    assert!(!first.reused && again.reused);
    assert_eq!(first.splits, again.splits);

    let error = make(&ShapesConfig { seed: 8, ..small(Manner::Plus) }, root.path()).unwrap_err();
    let message = error.to_string();
    for part in ["images/refshapes", "seed 7", "seed 8", "--out", "--images 6 --val-images 3"] {
        assert!(message.replace('\\', "/").contains(part), "{message}");
    }
    assert_eq!(hash(root.path()), before);

    // As after a kill between the two folders: the images are kept, the annotations made.
    fs::remove_dir_all(root.path().join("annotations")).unwrap();
    assert!(!make(&small(Manner::Unc), root.path()).unwrap().reused);
    assert_eq!(hash(root.path()), before);

    // And the other way round, whatever the defaults are.
    fs::remove_dir_all(root.path().join("images")).unwrap();
    let made = made_from(&ShapesConfig::default(), root.path()).unwrap();
    assert_eq!(made, small(Manner::Unc));
    make(&made, root.path()).unwrap();
    assert_eq!(hash(root.path()), before);
}

#[test]
fn a_folder_of_someone_else_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("images/refshapes");
    fs::create_dir_all(&folder).unwrap();
    let error = make(&small(Manner::Unc), root.path()).unwrap_err();
    assert!(matches!(error, ShapesError::Foreign { .. }), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn the_dataset_reads_it_like_any_other() {
    let root = tempfile::tempdir().unwrap();
    let made = make(&small(Manner::G), root.path()).unwrap();
    let config =
        DataConfig { root: root.path().into(), dataset: "refshapes-g".into(), ..DataConfig::default() };
    for split in &made.splits {
        let dataset = Dataset::open(&config, "instances.json", split.split.name()).unwrap();
        assert_eq!(dataset.len(), if split.images == 6 { split.referents } else { split.expressions });
        for (index, referent) in dataset.referents().iter().enumerate() {
            let image = dataset.image(index).unwrap();
            assert_eq!((image.width() as usize, image.height() as usize), (referent.width, referent.height));
            let bounds = referent.rle().unwrap().bounding_box().map(f64::from);
            assert_eq!(bounds, referent.bbox);
            for expression in &referent.expressions {
                assert!(dataset.vocabulary().encode(expression, 15).unknown.is_empty(), "{expression}");
            }
        }
    }
}
