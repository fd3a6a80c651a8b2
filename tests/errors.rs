//! What the program says when a user errs: the message names what was found, what was expected and
//! what to do, the exit code is 1, and nothing panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use assert_cmd::cargo::cargo_bin;

/// A network that learns nothing in no time.
const TINY: &str = r#"
base = ["base/res", "base/refshapes"]

[model]
vertices = 4
bins = 16
d_model = 16
heads = 2
encoder_layers = 1
decoder_layers = 1
feed_forward = 16
input_groups = 4
point_hidden = [8, 8]
language = { word_dim = 8, hidden = 8 }

[model.darknet]
widths = [4, 4, 8, 8, 16, 16]

[train]
epochs = 1
eval_limit = 2
"#;

fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin!("partial-res"));
    command.current_dir(folder).args(args).env_remove("RUST_BACKTRACE");
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    program(folder, args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What a command that works says: standard output and standard error.
fn works(folder: &Path, args: &[&str]) -> (String, String) {
    let output = run(folder, args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    (out, err)
}

/// A command that must fail; every part must be in its message.
fn fails(folder: &Path, args: &[&str], parts: &[&str]) {
    let output = run(folder, args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
    assert!(message.lines().any(|line| line.starts_with("error: ")), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?} does not say \"{part}\": {message}");
    }
}

/// A folder with a small RefShapes under `data`, `tiny.toml`, `dog.jpg`, and the run `runs/*` of a
/// training with it.
fn workplace() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("errors");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("what an earlier test left");
        }
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("tiny.toml"), TINY).expect("written");
        let images = ["--images", "8", "--val-images", "2", "--test-images", "1", "--size", "64"];
        works(&folder, &[&["shapes", "--out", "data"][..], &images].concat());
        works(&folder, &["train", "tiny.toml", "--device", "cpu"]);
        fs::copy(folder.join("data/images/refshapes/000000.jpg"), folder.join("dog.jpg")).expect("copied");
        folder
    })
}

/// The run of [`workplace`].
fn checkpoint() -> String {
    let runs: Vec<_> = fs::read_dir(workplace().join("runs")).expect("runs").flatten().collect();
    let [run] = &runs[..] else { panic!("{runs:?}") };
    format!("runs/{}", run.file_name().to_string_lossy())
}

#[test]
fn no_data() {
    let folder = tempfile::tempdir().expect("a folder");
    fails(
        folder.path(),
        &["train", "res/refcoco-unc", "--device", "cpu"],
        &["`refcoco-unc`", "data/annotations/refcoco-unc does not exist", "no data sets", "data.root"],
    );
    let advice =
        ["no data sets in data/annotations.", "`partial-res shapes`", "`cargo convert refer`", "--root"];
    fails(folder.path(), &["check"], &advice);
    fails(folder.path(), &["sample", "--dataset", "refcoco-unc", "--ratio", "5"], &advice[1..]);
    fails(folder.path(), &["table", "mine.toml"], &["cannot read the table mine.toml", "the built-in one"]);
    // Neither a folder of a run that never began.
    assert_eq!(fs::read_dir(folder.path().join("runs")).expect("runs").count(), 0);
}

#[test]
fn a_dataset_of_another_name() {
    fails(
        workplace(),
        &["train", "tiny.toml", "--device", "cpu", "--set", "data.dataset=refshapes-umc"],
        &["no data set `refshapes-umc`", "data sets there: refshapes-unc", "data.dataset"],
    );
    fails(
        workplace(),
        &["train", "tiny.toml", "--device", "cpu", "--set", "data.train_annotations=instances_sample_5.json"],
        &[
            "data/annotations/refshapes-unc/instances_sample_5.json",
            "files there: instances.json",
            "in training by data.train_annotations: a file name in that folder",
        ],
    );
}

#[test]
fn a_misspelt_key() {
    let folder = tempfile::tempdir().expect("a folder");
    fails(
        folder.path(),
        &["train", "--set", "train.epoch=3"],
        &["--set train.epoch=3", "unknown key `train.epoch`", "did you mean `train.epochs`?"],
    );
    fails(folder.path(), &["train", "--set", "train.clip=-1"], &["`train.clip` = -1", "not negative"]);
    fails(folder.path(), &["train", "--set", "train.epochs=many"], &["`train.epochs`", "\"many\""]);
    fails(folder.path(), &["train", "rec/refcoco"], &["no configuration `rec/refcoco`", "rec/refcoco-unc"]);
}

#[test]
fn labels_that_the_network_has_no_class_for() {
    let sets = ["model.auxiliary.pretext_weight=1", "model.auxiliary.pretext_classes=[12,1]"];
    let labels = "data.labels=[\"kind\",\"colour\"]";
    let args = ["train", "tiny.toml", "--device", "cpu", "--set", labels, "--set", sets[0], "--set", sets[1]];
    let parts = ["pretext_classes = [12, 1]", "data.labels = [\"kind\", \"colour\"]", "instances.json"];
    fails(workplace(), &args, &parts);
}

#[test]
fn a_checkpoint_of_another_architecture() {
    let name = checkpoint();
    let parts = [
        "is of another network",
        "head.transformer.encoder.layers.0.linear1.weight: [16, 16] in the checkpoint, [16, 32] in this network",
        "model.d_model: 16 in the checkpoint, 32 here",
        "begin from another checkpoint",
    ];
    let change = ["--device", "cpu", "--set", "model.d_model=32"];
    fails(workplace(), &[&["train", "tiny.toml", "--finetune-from", &name][..], &change].concat(), &parts);
    for command in [["train", "--resume", &name], ["eval", "--checkpoint", &name]] {
        let parts = ["--set model.…", "only data.* and train.* can be changed"];
        fails(workplace(), &[&command[..], &change].concat(), &parts);
    }
}

#[test]
fn no_such_checkpoint() {
    for name in ["nothing", "runs/nothing"] {
        fails(
            workplace(),
            &["eval", "--checkpoint", name],
            &[&format!("there is no checkpoint at {name}"), "runs/…/checkpoints/segm_best", "OWNER/NAME"],
        );
    }
    fs::write(workplace().join("det_best.pth"), [0; 5000]).expect("written");
    fails(
        workplace(),
        &["eval", "--checkpoint", "det_best.pth"],
        &["det_best.pth is no checkpoint", "cargo convert checkpoint"],
    );
    fails(workplace(), &["eval", "--checkpoint", "data"], &["data holds no checkpoint", "manifest.json"]);
    let folder = tempfile::tempdir().expect("a folder");
    fails(folder.path(), &["train", "--resume"], &["no run with checkpoints in runs"]);
}

#[test]
fn a_split_of_another_name() {
    fails(
        workplace(),
        &["eval", "--checkpoint", &checkpoint(), "--split", "val,testC", "--no-marks", "--device", "cpu"],
        &["instances.json has no split `testC`", "train, val, testA, testB"],
    );
}

fn predict<'a>(checkpoint: &'a str, image: &'a str, expression: &'a str) -> [&'a str; 10] {
    let [a, b] = ["--checkpoint", checkpoint];
    ["predict", a, b, "--image", image, "--expression", expression, "--json", "--device", "cpu"]
}

#[test]
fn an_image_that_is_none() {
    let (folder, checkpoint) = (workplace(), checkpoint());
    fs::write(folder.join("words.jpg"), "a dog, in words").expect("written");
    let whole = fs::read(folder.join("dog.jpg")).expect("the image");
    fs::write(folder.join("half.jpg"), &whole[..300]).expect("written");
    for (image, problem) in [
        ("words.jpg", "is neither a JPEG nor a PNG file"),
        ("half.jpg", "cannot be decoded"),
        ("none.jpg", "No such file"),
    ] {
        let parts = [&format!("--image {image}"), problem, "give a JPEG or PNG file"];
        fails(folder, &predict(&checkpoint, image, "red ring"), &parts);
    }
}

#[test]
fn an_expression_that_says_nothing() {
    for expression in ["", " ?! "] {
        fails(
            workplace(),
            &predict(&checkpoint(), "dog.jpg", expression),
            &[&format!("the expression `{expression}` has no word"), "say what to look for"],
        );
    }
}

#[test]
fn words_that_the_vocabulary_lacks() {
    let (out, err) = works(workplace(), &predict(&checkpoint(), "dog.jpg", "red zebra above the ring, qua"));
    assert!(
        err.contains("WARNING") && err.contains("not in the checkpoint's vocabulary: zebra, qua;"),
        "{err}"
    );
    let answer: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(answer["expression"], "red zebra above the ring, qua");

    let (_, err) = works(workplace(), &predict(&checkpoint(), "dog.jpg", &"red ".repeat(17)));
    assert!(err.contains("the last 2 words are not read; the checkpoint reads 15 (data.max_words)"), "{err}");
    let (_, err) = works(workplace(), &predict(&checkpoint(), "dog.jpg", "red ring"));
    assert!(!err.contains("WARNING"), "{err}");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn cuda_that_is_not_built_in() {
    fails(
        workplace(),
        &["train", "tiny.toml", "--device", "cuda"],
        &["this build has no CUDA", "--features cuda", "--device cpu"],
    );
}

#[test]
fn what_is_counted_without_its_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, _) = works(folder.path(), &["info", "res/refcoco-unc"]);
    assert!(
        out.contains("note: 0 words, as the data can't be read; --words N sets them (no data set"),
        "{out}"
    );
    let (out, _) = works(folder.path(), &["info", "res/refcoco-unc", "--words", "64"]);
    assert!(out.contains("104 431 721") && !out.contains("note:"), "{out}");
}

#[test]
fn a_reader_of_the_output_that_leaves_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let pickle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/token_to_ix.p4.pkl");
    fs::copy(pickle, folder.path().join("token_to_ix.pkl")).expect("copied");
    let commands: [(&str, &[&str]); 4] = [
        ("partial-res", &["train", "--print-config"]),
        ("partial-res", &["info", "res/refshapes"]),
        ("convert", &["vocabulary", "."]),
        ("convert", &["--help"]),
    ];
    for (name, arguments) in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(cargo_bin(name));
        let output = command.current_dir(folder.path()).args(arguments).stdout(writer).output();
        let output = output.expect("it runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", text(&output.stderr));
    }
    assert!(folder.path().join("vocabulary.json").is_file());
}
