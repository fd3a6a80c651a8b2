//! The paper's experiment as a command: made once, gone on with, repeated as far as a change reaches.

#[path = "common/tiny.rs"]
mod tiny;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use partial_res::config::{Config, DataConfig, Task, TrainConfig};
use partial_res::shapes::{ShapesConfig, generate};
use serde_json::Value;

/// A folder with a small RefShapes, `res.toml` and `rec.toml`.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let shapes =
        ShapesConfig { images: 24, val_images: 2, test_images: 1, size: 64, ..ShapesConfig::default() };
    generate(&shapes, &root, &|_, _| ()).unwrap();
    let data = DataConfig {
        root,
        dataset: "refshapes-unc".into(),
        image_size: 64,
        test_splits: vec!["val".into(), "testA".into()],
        ..DataConfig::default()
    };
    let train = TrainConfig { epochs: 4, epoch_steps: 6, batch_size: 4, ..TrainConfig::default() };
    let mut config = Config { model: tiny::model(), data, train };
    fs::write(folder.path().join("res.toml"), config.to_toml()).unwrap();
    config.model.task = Task::Detection;
    config.train.epochs = 1;
    fs::write(folder.path().join("rec.toml"), config.to_toml()).unwrap();
    folder
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partial-res"));
    command.args(["--threads", "1"]).args(arguments).args(["--device", "cpu"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(child: Child) -> Result<String, String> {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn run(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    finish(program(folder, arguments).spawn().unwrap())
}

const PIPELINE: [&str; 8] =
    ["pipeline", "res.toml", "--rec-config", "rec.toml", "--ratio", "20", "--full", "--store"];

fn run_pipeline(folder: &Path, store: &str, more: &[&str]) -> Result<String, String> {
    run(folder, &[&PIPELINE[..], &[store], more].concat())
}

fn pipeline(folder: &Path, store: &str, more: &[&str]) -> String {
    run_pipeline(folder, store, more).unwrap()
}

/// The folders of the steps of a kind.
fn steps_of(store: &Path, kind: &str) -> Vec<PathBuf> {
    let steps = fs::read_dir(store.join("steps")).into_iter().flatten().flatten();
    let is_it = |step: &fs::DirEntry| step.file_name().to_string_lossy().starts_with(&format!("{kind}-"));
    steps.filter(is_it).map(|step| step.path()).collect()
}

/// When each finished step was marked as such, by the name of its folder.
fn finished(store: &Path) -> BTreeMap<String, SystemTime> {
    let steps = fs::read_dir(store.join("steps")).into_iter().flatten().flatten();
    let done = |path: PathBuf| Some(fs::metadata(path.join("done.json")).ok()?.modified().unwrap());
    steps.filter_map(|step| Some((step.file_name().into_string().unwrap(), done(step.path())?))).collect()
}

fn kinds<'a>(steps: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    steps.into_iter().map(|name| name.split('-').next().unwrap()).collect()
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(60), "no {what} after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_pipeline_is_made_once_and_repeats_what_a_change_reaches() {
    let folder = workplace();
    let folder = folder.path();
    let plan = pipeline(folder, "store", &["--dry-run"]);
    assert_eq!(plan.matches("to do").count(), 10, "nine steps and the sum\n{plan}");
    assert!(plan.contains("rows/s"), "{plan}");
    assert!(!folder.join("store").exists());

    let said = pipeline(folder, "store", &[]);
    let first = finished(&folder.join("store"));
    let all = ["evaluate", "evaluate", "evaluate", "label", "pick", "rec", "res", "res", "res", "sample"];
    assert_eq!(kinds(first.keys()), all);
    assert!(said.contains("[10/10] evaluate RES on all masks"), "{said}");
    let out = folder.join("store/res-20-6666");
    let results: Value = serde_json::from_slice(&fs::read(out.join("results.json")).unwrap()).unwrap();
    let names: Vec<&str> =
        results["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["initial RES", "after RPP", "fully supervised"]);
    let row = &results["rows"][1];
    assert_eq!(row["training"]["steps"], 24);
    assert_eq!(row["training"]["curve"].as_array().unwrap().len(), 4);
    assert_eq!(row["splits"][1]["split"], "testA");
    assert!(row["splits"][0]["ceiling"].as_f64().unwrap() > 50.0);
    let labels = &row["labels"];
    let count = |name: &str| labels[name].as_u64().unwrap();
    assert!(count("labelled") > 5 && count("kept") <= count("unlabelled"), "{labels}");
    assert!(fs::read_to_string(out.join("results.md")).unwrap().contains("| after RPP | val |"));
    assert_eq!(fs::read_to_string(out.join("results.csv")).unwrap().lines().count(), 1 + 3 * 2);
    assert!(image::open(out.join("results.png")).is_ok());

    // Again: nothing is made.
    let said = pipeline(folder, "store", &[]);
    assert!(!said.contains("[1/10]") && said.contains("after RPP"), "{said}");
    assert_eq!(finished(&folder.join("store")), first);

    // Another threshold: another pick and what comes of it.
    pipeline(folder, "store", &["--threshold", "0.6"]);
    let second = finished(&folder.join("store"));
    assert!(first.iter().all(|(name, time)| second[name] == *time));
    let new = second.keys().filter(|name| !first.contains_key(*name));
    assert_eq!(kinds(new), ["evaluate", "pick", "res"]);
    // Another way to make labels, from the same sample.
    let said = pipeline(folder, "store", &["--labeller", "rpp,close-up", "--quality", "0"]);
    assert!(said.contains("after close-ups") && said.contains("labeller on 20 % of the masks"), "{said}");
    let third = finished(&folder.join("store"));
    let new = third.keys().filter(|name| !second.contains_key(*name));
    assert_eq!(kinds(new), ["evaluate", "label", "labeller", "pick", "res"]);
    // A second look at what the models of step 1, of the sample and of all masks found.
    let said = pipeline(folder, "store", &["--second-look"]);
    assert!(said.contains("evaluate REC, second look by labeller on 20 % of the masks"), "{said}");
    assert!(said.contains("evaluate RES on all masks, second look by labeller on all masks"), "{said}");
    let looked = finished(&folder.join("store"));
    let new = looked.keys().filter(|name| !third.contains_key(*name));
    assert_eq!(kinds(new), ["evaluate", "evaluate", "evaluate", "evaluate", "labeller"]);
    let third = looked;
    let text = fs::read_to_string(out.join("results.md")).unwrap();
    assert!(text.contains("| REC, second look | val |"), "{text}");
    let second = third;
    // What has no influence makes nothing new.
    let sets = ["--set", "data.workers=1", "--set", "train.log_every=7", "--set", "data.root=./data"];
    pipeline(folder, "store", &sets);
    assert_eq!(finished(&folder.join("store")), second);

    // Killed in its first training of outlines and in a later one, elsewhere: the end is the same.
    for count in [1, 2] {
        let mut child = program(folder, &[&PIPELINE[..], &["killed"]].concat()).spawn().unwrap();
        let saved = |step: &fs::DirEntry| {
            let is_res = step.file_name().to_string_lossy().starts_with("res-");
            is_res && step.path().join("run/checkpoints/latest").exists()
        };
        let steps = || fs::read_dir(folder.join("killed/steps")).into_iter().flatten().flatten();
        wait_for("checkpoint", || steps().filter(saved).count() == count);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(finished(&folder.join("killed")).len() < all.len());
    }
    // The second time between the two renames that replace a checkpoint.
    let begun =
        steps_of(&folder.join("killed"), "res").into_iter().find(|step| !step.join("done.json").exists());
    let run = begun.unwrap().join("run");
    let latest = fs::read_to_string(run.join("checkpoints/latest")).unwrap().trim().to_owned();
    let aside = run.join("checkpoints/.partial-killed");
    fs::create_dir_all(&aside).unwrap();
    fs::rename(run.join("checkpoints").join(&latest), aside.join(&latest)).unwrap();
    pipeline(folder, "killed", &[]);
    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    let resumed = log.lines().find(|line| line.contains("resumed from")).unwrap();
    assert!(resumed.contains(&format!("{latest}: ")), "{resumed}");
    let read = |store: &str| fs::read_to_string(folder.join(store).join("res-20-6666/results.json")).unwrap();
    let again = pipeline(folder, "store", &[]);
    assert!(again.contains("after RPP") && read("killed") == read("store"));
    assert!(finished(&folder.join("killed")).keys().eq(first.keys()));

    // An older checkpoint of REC is no beginning where its last one is damaged.
    let checkpoints = steps_of(&folder.join("killed"), "rec")[0].join("run/checkpoints");
    fs::create_dir(checkpoints.join("step-1")).unwrap();
    for file in fs::read_dir(checkpoints.join("step-6")).unwrap().flatten() {
        fs::copy(file.path(), checkpoints.join("step-1").join(file.file_name())).unwrap();
    }
    fs::write(checkpoints.join("step-6/model.safetensors"), "").unwrap();
    let error = run_pipeline(folder, "killed", &["--threshold", "0.6"]).unwrap_err();
    assert!(error.contains("step-6 is damaged") && error.contains("remove the folder"), "{error}");

    // Annotations that change meanwhile: what was made is not kept under the key of the old ones.
    let child = program(folder, &[&PIPELINE[..], &["edited"]].concat()).spawn().unwrap();
    let saved = |step: &PathBuf| step.join("run/checkpoints/latest").exists();
    wait_for("checkpoint", || steps_of(&folder.join("edited"), "res").iter().any(saved));
    let annotations = folder.join("data/annotations/refshapes-unc/instances.json");
    fs::write(&annotations, fs::read_to_string(&annotations).unwrap() + " ").unwrap();
    let error = finish(child).unwrap_err();
    assert!(error.contains("instances.json changed since the plan was made"), "{error}");
    assert_eq!(kinds(finished(&folder.join("edited")).keys()), ["rec", "sample"]);
}

#[test]
fn mistakes_in_an_experiment_are_named() {
    let folder = workplace();
    let folder = folder.path();
    let error =
        run(folder, &["pipeline", "rec.toml", "--rec-config", "rec.toml", "--ratio", "5"]).unwrap_err();
    assert!(error.contains("model.task = detection"), "{error}");
    let error =
        run(folder, &["pipeline", "res.toml", "--rec-config", "rec.toml", "--ratio", "100"]).unwrap_err();
    assert!(error.contains("100 % is no share"), "{error}");
    let error =
        run(folder, &["pipeline", "res.toml", "--ratio", "5", "--rec", "nowhere/at/all"]).unwrap_err();
    assert!(error.contains("no checkpoint at nowhere/at/all"), "{error}");
    let error =
        run(folder, &["pipeline", "res.toml", "--rec-config", "res.toml", "--ratio", "5"]).unwrap_err();
    assert!(error.contains("step 1 says boxes"), "{error}");
    let plan = ["pipeline", "res.toml", "--rec-config", "rec.toml", "--ratio", "5", "--dry-run"];
    for (more, expected) in [
        (
            ["--set-rec", "train.finetune_from=x"],
            "train.finetune_from = x, but here REC is trained from nothing",
        ),
        (["--set", "data.train_annotations=some.json"], "outlines has data.train_annotations = some.json"),
        (["--set-rec", "data.train_annotations=some.json"], "REC has data.train_annotations = some.json"),
        (["--set", "data.train_transform=close-up"], "would be scored with the true boxes given"),
        (
            ["--set-labeller", "train.finetune_from=x"],
            "labeller has train.finetune_from = x, that of outlines none",
        ),
    ] {
        let error = run(folder, &[&plan[..], &more, &["--second-look"]].concat()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let splits = "data.test_splits=[\"val\", \"exam\"]";
    let error = run(
        folder,
        &["pipeline", "res.toml", "--rec-config", "rec.toml", "--ratio", "5", "--dry-run", "--set", splits],
    )
    .unwrap_err();
    assert!(error.contains("no split `exam`"), "{error}");
    let store = folder.join("store");
    assert!(!store.exists(), "a refusal writes nothing");
}

#[test]
fn two_processes_fill_one_table() {
    let folder = workplace();
    let folder = folder.path();
    let runs = ["train", "rec.toml", "--runs", "runs"];
    run(folder, &runs).unwrap();
    let rec = fs::read_dir(folder.join("runs")).unwrap().next().unwrap().unwrap().path();
    let row = |name: &str, ratio: u32, method: &str, seeds: &str| {
        format!(
            "[[row]]\nname = \"{name}\"\ngroup = \"Masks\"\ndataset = \"refshapes-unc\"\nratio = {ratio}\n\
             method = \"{method}\"\nseeds = {seeds}\n"
        )
    };
    let head = format!("title = \"T\"\nconfig = \"res.toml\"\nrec = \"{}\"\n", rec.display());
    let compare = ["rpp", "few", "ours", "rpp"]
        .chunks(2)
        .map(|pair| format!("[[compare]]\nof = \"{}\"\nwith = \"{}\"\n", pair[0], pair[1]));
    let rows = [
        row("few", 20, "initial", "[1, 2]"),
        row("rpp", 20, "rpp", "[1, 2]"),
        row("all", 100, "full", "[1]"),
        row("ours", 20, "close-up", "[1]") + "quality = 0\nrounds = 2\n",
        row("twice", 20, "rec", "[1]") + "second_look = true\n",
    ];
    fs::write(folder.join("table.toml"), head + &rows.concat() + &compare.collect::<String>()).unwrap();

    let table = ["table", "table.toml", "--store", "store"];
    let list = run(folder, &[&table[..], &["--list"]].concat()).unwrap();
    let order: Vec<&str> = list.lines().skip(2).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(order, ["few/1", "rpp/1", "all/1", "ours/1", "twice/1", "few/2", "rpp/2"]);
    let error = run(folder, &[&table[..], &["--only", "some"]].concat()).unwrap_err();
    assert!(error.contains("no cell is named some; the rows are few, rpp, all, ours, twice"), "{error}");

    let error = run(folder, &[&table[..], &["--set", "train.finetune_from=x"]].concat()).unwrap_err();
    assert!(error.contains("begin with the checkpoint that its `rec` names"), "{error}");
    fs::write(folder.join("page.md"), "without marks").unwrap();
    let error = run(folder, &[&table[..], &["--out", "page"]].concat()).unwrap_err();
    assert!(error.contains("page.md: the table has no place in it"), "{error}");
    assert!(!folder.join("store/steps").exists(), "said before anything is made");

    run(folder, &[&table[..], &["--only", "few/1"]].concat()).unwrap();
    let page = fs::read_to_string(folder.join("store/table.md")).unwrap();
    assert!(page.contains("6 cells are missing: few/2, rpp/1, rpp/2, all/1, ours/1, twice/1."), "{page}");
    // The page is named after the folder, also where that has a dot.
    run(folder, &[&table[..], &["--only", "few/1", "--out", "results.2"]].concat()).unwrap();
    assert!(folder.join("results.2.md").exists() && !folder.join("results.md").exists());
    let both: Vec<Child> = (0..2).map(|_| program(folder, &table).spawn().unwrap()).collect();
    let said: Vec<String> = both.into_iter().map(|child| finish(child).unwrap()).collect();
    let made = said.concat().matches("] RES on 20 % of the masks: ").count();
    assert_eq!(made, 2, "few/2: begun and ended once; few/1 was there\n{said:?}");

    let page = fs::read_to_string(folder.join("store/table.md")).unwrap();
    assert!(page.contains("No cell is missing.") && page.contains("| rpp | few |"), "{page}");
    let cells = fs::read_to_string(folder.join("store/table/cells.csv")).unwrap();
    assert_eq!(cells.lines().count(), 1 + 7 * 2, "a line for each cell and split\n{cells}");
    let curves = fs::read_to_string(folder.join("store/table/curves.csv")).unwrap();
    assert_eq!(curves.lines().count(), 1 + 6 * 4, "a second look has none");
    let labels = fs::read_to_string(folder.join("store/table/labels.csv")).unwrap();
    assert_eq!(labels.lines().count(), 2, "{labels}");
    assert!(labels.contains("\nours,rpp,refshapes-unc,20,1,") && page.contains("| ours | 1 |"), "{page}");
    let made =
        |kind: &str| finished(&folder.join("store")).keys().filter(|name| name.starts_with(kind)).count();
    assert_eq!(made("labeller-"), 2, "the second has learnt from the labels of the first");
    for picture in ["curves-masks.png", "masks-masks.png"] {
        assert_eq!(
            folder.join("store/table").join(picture).exists(),
            picture.starts_with("curves"),
            "{picture}"
        );
    }
    // From the raw rows alone.
    fs::remove_file(folder.join("store/table.md")).unwrap();
    run(folder, &[&table[..], &["--render"]].concat()).unwrap();
    assert_eq!(fs::read_to_string(folder.join("store/table.md")).unwrap(), page);
    // With other settings rows lack their cells: the ratio shows in them, the rest in the keys of their steps.
    let text = fs::read_to_string(folder.join("table.toml")).unwrap();
    let missing = |text: String, more: &str| {
        fs::write(folder.join("changed.toml"), text).unwrap();
        let changed = ["table", "changed.toml", "--store", "store", more];
        run(folder, &changed).unwrap();
        let page = fs::read_to_string(folder.join("store/table.md")).unwrap();
        page.lines().rfind(|line| line.contains("missing")).unwrap().to_owned()
    };
    let other_ratio = text.replacen("ratio = 20", "ratio = 40", 1);
    assert_eq!(missing(other_ratio, "--render"), "2 cells are missing: few/1, few/2.");
    let other_threshold = text.replace("method = \"rpp\"", "method = \"rpp\"\nthreshold = 0.5");
    assert_eq!(missing(other_threshold, "--only=few/1"), "2 cells are missing: rpp/1, rpp/2.");
    // Whoever has the rows need not have the steps.
    run(folder, &["table", "table.toml", "--store", "other", "--out", "store/table"]).unwrap();
    assert!(
        !folder.join("other/steps").exists()
            || fs::read_dir(folder.join("other/steps")).unwrap().next().is_none()
    );
    // What fails in one cell is not tried again for the next one that needs it.
    fs::create_dir_all(folder.join("blocked/steps")).unwrap();
    for sample in finished(&folder.join("store")).keys().filter(|name| name.starts_with("sample-")) {
        fs::write(folder.join("blocked/steps").join(sample), "no folder").unwrap();
    }
    let blocked = ["table", "table.toml", "--store", "blocked", "--only", "few/1,rpp/1"];
    let output = program(folder, &blocked).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && said.contains("cell few/1 failed and is left out: "), "{said}");
    assert!(said.contains("cell rpp/1 is left out: it needs sample-"), "{said}");
}
