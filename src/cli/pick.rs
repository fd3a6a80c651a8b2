//! `partial-res pick`: choose pseudo labels.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use partial_res::config::{Config, DataConfig};
use partial_res::data::{Annotations, Dataset, INSTANCES, annotation_file};
use partial_res::pseudo::{
    Criterion, Judge, Masks, PickOptions, Picked, Predictions, QUALITY, Verdict, draw_verdicts, pick,
    pick_file, predictions_file, sample_file,
};
use partial_res::report::{Histogram, Table, save_picture};

use super::shared::say;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// The IoU to expect, learnt from the labelled sample, is high enough
    Quality,
    /// Resampling pseudo points, as in the paper: the projection term is below the threshold
    Rpp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Written {
    /// As predicted (RLE)
    Predicted,
    /// Polygons through the outermost pixels, as the reference does
    Outlines,
}

/// Choose the predictions that are good enough to train on
///
/// Writes instances_sample_<RATIO>_box_pick.json: the labelled records, then those picked with the
/// prediction as their mask, every other split as it is in the sample; a histogram of what was judged
/// (.png, where there is a value) and the figures (.provenance.json) beside it.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res pick --ratio 5 --dataset refcoco-unc\n  partial-res train res/refcoco-unc --finetune-from runs/det_best --set data.train_annotations=instances_sample_5_box_pick.json"
)]
pub struct PickArgs {
    /// Percent of the labelled sample: reads instances_sample_<RATIO>.json
    #[arg(long)]
    ratio: u32,
    /// A folder of ROOT/annotations
    #[arg(long)]
    dataset: String,
    /// Holds annotations/ and images/
    #[arg(long, default_value = "data")]
    root: PathBuf,
    /// What `label` wrote [default: predictions.jsonl beside the annotations]
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Choice::Quality)]
    method: Choice,
    /// quality: the expected IoU from which on a label is good enough; 0 keeps all, up to 1 [default: 0.5]
    #[arg(long)]
    quality: Option<f64>,
    /// rpp: projection terms below it are good enough; 0 to 2 [default: 0.1]
    #[arg(long)]
    threshold: Option<f64>,
    /// quality: also write the expected IoU as the label's weight in training; with --quality 0 in place of
    /// keeping and rejecting
    #[arg(long)]
    weights: bool,
    /// What becomes the mask of a picked record
    #[arg(long, value_enum, default_value_t = Written::Predicted)]
    masks: Written,
    /// Draw some of the kept and of the rejected outlines: DIR/kept.png, DIR/rejected.png
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Where the images to draw are: --set data.images.SOURCE=folder/{image_id}.jpg
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "draw")]
    sets: Vec<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// What a label must have to be kept: the IoU to expect and the projection term.
pub fn limits(quality: Option<f64>, threshold: Option<f64>) -> Result<(f64, f64)> {
    let (quality, threshold) = (quality.unwrap_or(QUALITY), threshold.unwrap_or(Judge::default().threshold));
    ensure!(
        (0.0..=2.0).contains(&threshold),
        "--threshold {threshold}: expected 0 to 2, as projection terms are"
    );
    ensure!((0.0..=1.0).contains(&quality), "--quality {quality}: expected 0 to 1, as IoU is");
    Ok((quality, threshold))
}

pub fn run(args: &PickArgs) -> Result<()> {
    ensure!(
        args.method == Choice::Rpp || args.threshold.is_none(),
        "--threshold is for --method rpp; --quality says what the default method keeps"
    );
    ensure!(
        args.method == Choice::Quality || args.quality.is_none(),
        "--quality is for --method quality; --threshold says what rpp keeps"
    );
    let (quality, threshold) = limits(args.quality, args.threshold)?;
    let start = Instant::now();
    let path = annotation_file(&args.root, &args.dataset, INSTANCES)?;
    let labelled = annotation_file(&args.root, &args.dataset, &sample_file(args.ratio))
        .with_context(|| format!("the labelled sample; `sample --ratio {}` draws one", args.ratio))?;
    let predictions = args.predictions.clone().unwrap_or_else(|| predictions_file(&path));
    ensure!(
        predictions.exists(),
        "there are no predictions at {}; `label` writes them",
        predictions.display()
    );
    let predictions = Predictions::read(&predictions)?;
    let (all, labelled) = (Annotations::read(&path)?, Annotations::read(&labelled)?);
    let criterion = match args.method {
        Choice::Quality => Criterion::Quality(quality),
        Choice::Rpp => Criterion::Rpp(Judge { threshold }),
    };
    let out = path.with_file_name(pick_file(args.ratio));
    let masks = match args.masks {
        Written::Predicted => Masks::Predicted,
        Written::Outlines => Masks::Outlines,
    };
    let options = PickOptions { criterion, masks, weights: args.weights, force: args.force };
    // Before anything is written, images must be found.
    let drawn =
        args.draw.as_ref().map(|folder| Ok::<_, anyhow::Error>((folder, images(args, &predictions)?)));
    let drawn = drawn.transpose()?;
    let picked = pick(&all, &labelled, &predictions, &out, &options)?;
    say(table(&picked))?;
    say(format!("{}: {} records of {}", out.display(), picked.labelled + picked.kept, picked.split))?;
    let (png, histogram) = (out.with_extension("png"), histogram(&args.dataset, &picked));
    if histogram.groups.iter().any(|(_, values)| !values.is_empty()) {
        save_picture(&histogram.draw()?, &png)?;
        say(png.display())?;
    } else if png.exists() {
        // Of a pick that is replaced.
        std::fs::remove_file(&png).with_context(|| png.display().to_string())?;
    }
    if let Some((folder, dataset)) = &drawn {
        draw(dataset, &picked, &predictions, folder)
            .with_context(|| format!("{} is complete, but not its pictures", out.display()))?;
    }
    say(format!("{:.1} s", start.elapsed().as_secs_f64()))?;
    Ok(())
}

fn table(picked: &Picked) -> Table {
    let mut table = Table::new(["", "referents", "% of unlabelled", "true mIoU"]);
    let all = picked.verdicts.len();
    let mut row = |name: &str, count: usize, iou: Option<f64>| {
        let share = (all > 0).then(|| 100.0 * count as f64 / all as f64);
        let cells = [name.to_owned(), count.to_string(), Table::percent(share)];
        table.row(cells.into_iter().chain([Table::percent(iou.map(|iou| 100.0 * iou))]));
    };
    row("kept", picked.kept, picked.true_iou_of_kept);
    row("rejected: nothing outlined", picked.empty, None);
    let poor = match picked.criterion {
        Criterion::Rpp(judge) => format!("rejected: projection term >= {}", judge.threshold),
        Criterion::Quality(quality) => format!("rejected: expected IoU < {quality}"),
    };
    row(&poor, picked.poor, None);
    row("rejected in all", picked.empty + picked.poor, picked.true_iou_of_rejected);
    table.rule();
    table.row(["labelled".to_owned(), picked.labelled.to_string()]);
    table
}

fn histogram<'a>(title: &'a str, picked: &'a Picked) -> Histogram<'a> {
    let of = |kept: bool, value: fn(&Verdict) -> Option<f64>| -> Vec<f64> {
        picked.verdicts.iter().filter(|v| v.judgement.kept == kept).filter_map(value).collect()
    };
    let (axis, limit, value): (_, _, fn(&Verdict) -> Option<f64>) = match picked.criterion {
        Criterion::Rpp(judge) => ("projection term (1 and above: last bar)", judge.threshold, |v| {
            v.judgement.projection_term.map(f64::from)
        }),
        Criterion::Quality(quality) => ("expected IoU", quality, |v| v.expected_iou),
    };
    Histogram {
        title,
        axis,
        unit: "referents",
        up_to: 1.0,
        limit,
        groups: [("kept", of(true, value)), ("rejected", of(false, value))],
    }
}

/// Pictures on a sheet, and in a row of it.
const PICTURES: [usize; 2] = [12, 4];

/// What is drawn: the split of the predictions, whose first image is there.
fn images(args: &PickArgs, predictions: &Predictions) -> Result<Dataset> {
    ensure!(
        args.sets.iter().all(|set| set.starts_with("data.images")),
        "--set here says where images are: data.images.SOURCE=folder/{{image_id}}.jpg; --root and --dataset say the rest"
    );
    let data = Config::default().with(&args.sets)?.data;
    let config = DataConfig { root: args.root.clone(), dataset: args.dataset.clone(), ..data };
    let dataset = Dataset::open(&config, INSTANCES, &predictions.header.split)?;
    if !dataset.is_empty() {
        let path = dataset.image_path(0);
        ensure!(
            path.is_file(),
            "--draw: there is no image {}; say where they are with --set data.images.SOURCE=folder/{{image_id}}.jpg, or leave out --draw",
            path.display()
        );
    }
    Ok(dataset)
}

fn draw(dataset: &Dataset, picked: &Picked, predictions: &Predictions, folder: &Path) -> Result<()> {
    for (name, kept) in [("kept.png", true), ("rejected.png", false)] {
        let verdicts: Vec<&Verdict> =
            picked.verdicts.iter().filter(|verdict| verdict.judgement.kept == kept).collect();
        let [count, columns] = PICTURES;
        let picture = draw_verdicts(dataset, predictions, &verdicts, count, columns)?;
        let path = folder.join(name);
        save_picture(&picture, &path)?;
        say(path.display())?;
    }
    Ok(())
}
