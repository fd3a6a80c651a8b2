//! `partial-res pipeline`: the paper's experiment.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use partial_res::config::Config;
use partial_res::experiment::{
    Arm, ByQuality, DataSource, LabelMethod, Origin, Plan, Ran, Rec, Recipe, StepStore, Summary, SummaryRow,
    Supervision, Workplace, check_outlines, labeller_config, rows_per_second,
};
use partial_res::pseudo::{Asked, Masks};
use partial_res::report::Log;

use super::pick::limits;
use super::shared::{ConfigArgs, DeviceArgs, checkpoint_path, make_shapes, say, signals};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Labeller {
    /// Resampling pseudo points, the paper's way: outlines by the network that learnt from the sample,
    /// kept where their shadows fit the box
    Rpp,
    /// Outlines by the same network, said within the boxes and fitted to them, kept where the IoU to expect is
    /// high enough
    Boxes,
    /// Close-ups: a labeller of its own that sees each referent's box, its outlines kept where the IoU to
    /// expect is high enough
    CloseUp,
}

/// The paper's experiment: boxes for all, masks for few, from step 1 to the scores
///
/// REC, a sample of the masks, RES on it, labels for the rest, a pick of them, RES on all that from the
/// REC model again, scores on the test splits. Each step is a folder in the store, named by a hash of all
/// that decides about it. Run again, the same command goes on where it stopped; with a changed setting it
/// repeats what depends on it. Ctrl-C stops after the step of the optimizer and saves.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  partial-res pipeline --ratio 5 --full\n  partial-res pipeline res/refcoco-unc --ratio 1 --rec converted/refcoco-unc --dry-run\n\nOn few cores it is fastest to start it with --threads 1, and two of different seeds beside one another."
)]
pub struct PipelineArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Percent of the masks that may be used
    #[arg(long)]
    ratio: u32,
    /// The REC checkpoint that all begins with: a path, or OWNER/NAME on the Hub [default: the
    /// configuration's train.finetune_from; without one it is trained]
    #[arg(long, value_name = "CHECKPOINT")]
    rec: Option<String>,
    /// Train REC with this configuration [default: the one in rec/ that is named like CONFIG]
    #[arg(long, value_name = "CONFIG", conflicts_with = "rec")]
    rec_config: Option<String>,
    /// Change a key of the REC training, which begins from nothing; data.* of --set holds for it too, and its data
    /// set, root and images are those of CONFIG
    #[arg(long = "set-rec", value_name = "KEY=VALUE")]
    sets_rec: Vec<String>,
    /// How labels are made; several, comma-separated, to compare
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rpp")]
    labeller: Vec<Labeller>,
    /// Change a key of the labeller's training (close-up, --second-look), after those of --set
    #[arg(long = "set-labeller", value_name = "KEY=VALUE")]
    sets_labeller: Vec<String>,
    /// rpp: projection terms below it are good enough; 0 to 2 [default: 0.1]
    #[arg(long)]
    threshold: Option<f64>,
    /// boxes, close-up: the expected IoU from which on a label is good enough; 0 keeps all, up to 1 [default:
    /// 0.5]
    #[arg(long)]
    quality: Option<f64>,
    /// boxes, close-up: labels count in training as much as the IoU that is expected of them; with --quality 0
    /// in place of keeping and rejecting
    #[arg(long)]
    weights: bool,
    /// boxes, close-up: ask all expressions of a referent and take the outline of which most is expected
    #[arg(long)]
    all_expressions: bool,
    /// Make labels so often, each time with a network that has learnt from those of the time before; every
    /// round is scored
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Also train on all masks, to compare
    #[arg(long)]
    full: bool,
    /// Also score every model, and REC alone, with a second look: a labeller that learns from the same masks
    /// outlines close-ups of what they find
    #[arg(long)]
    second_look: bool,
    /// Of the sample and of the trainings of outlines [default: the configuration's train.seed]
    #[arg(long)]
    seed: Option<u64>,
    /// Print the plan, and stop
    #[arg(long)]
    dry_run: bool,
    /// Where steps are kept and found again
    #[arg(long, default_value = "experiments")]
    store: PathBuf,
    /// Where results.md, .csv, .json and .png go [default: STORE/<configuration>-<ratio>-<seed>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &PipelineArgs) -> Result<()> {
    let by_quality = args.weights || args.all_expressions || args.quality.is_some();
    ensure!(
        !by_quality || args.labeller.iter().any(|way| *way != Labeller::Rpp),
        "--weights, --all-expressions and --quality are for labels by boxes or close-up; name one with --labeller"
    );
    ensure!(
        args.threshold.is_none() || args.labeller.contains(&Labeller::Rpp),
        "--threshold is for labels by rpp; name it with --labeller"
    );
    ensure!(
        args.sets_labeller.is_empty() || args.second_look || args.labeller.contains(&Labeller::CloseUp),
        "--set-labeller is for the labeller of close-ups; name it with --labeller close-up or --second-look"
    );
    let (quality, threshold) = limits(args.quality, args.threshold)?;
    let log = Log::stdout();
    let res = args.config.load()?;
    check_outlines(&res)?;
    let device = args.device.open(&log)?;
    make_shapes(&res, &log)?;
    let seed = args.seed.unwrap_or(res.train.seed);
    let (rec, source) = (rec(args, &res, &log)?, Arc::new(DataSource::open(&res.data)?));
    let labeller = labeller_config(args.config.name(), &args.config.sets, &args.sets_labeller)?;
    let recipe = Recipe { res, labeller, rec, source, ratio: args.ratio, seed };
    let mut models = vec![("initial RES".to_owned(), Supervision::Sample)];
    let masks = Masks::Predicted;
    let by_quality = ByQuality {
        quality,
        masks,
        weights: args.weights,
        expressions: if args.all_expressions { Asked::All } else { Asked::First },
    };
    for labeller in &args.labeller {
        let (name, method) = match labeller {
            Labeller::Rpp => ("after RPP", LabelMethod::Rpp { threshold, masks }),
            Labeller::Boxes => ("after labels within boxes", LabelMethod::Boxes(by_quality)),
            Labeller::CloseUp => ("after close-ups", LabelMethod::CloseUp(by_quality)),
        };
        for rounds in 1..=args.rounds {
            let name = if rounds == 1 { name.to_owned() } else { format!("{name}, round {rounds}") };
            models.push((name, Supervision::Labels { method, rounds: rounds.into() }));
        }
    }
    if args.full {
        models.push(("fully supervised".to_owned(), Supervision::Full));
    }
    let mut arms: Vec<(String, Arm)> = Vec::new();
    for (name, supervision) in &models {
        arms.push((name.clone(), recipe.arm(*supervision, false)?));
    }
    if args.second_look {
        models.insert(0, ("REC".to_owned(), Supervision::Boxes));
        for (name, supervision) in &models {
            arms.push((format!("{name}, second look"), recipe.arm(*supervision, true)?));
        }
    }
    let store = StepStore::new(&args.store)?;
    let stop = signals()?;
    let place =
        Workplace { store: &store, device: &device, log: &log, stop: &|| stop.load(Ordering::Relaxed) };
    let plan = Plan::new(arms.iter().map(|(_, arm)| &arm.evaluation), &store)?;
    if plan.probed().is_some() {
        log.line("measuring how fast trainings will be")?;
    }
    let speed = plan.probed().map(|training| rows_per_second(training, &place)).transpose()?;
    say(plan.table(&store, speed)?)?;
    if let Some([fewest, most, epoch_steps]) = plan.unequal_steps() {
        say(format!(
            "Trainings of outlines take {fewest} to {most} steps, each its epochs over its own masks. \
             Equally many for all: --set train.epoch_steps={epoch_steps}"
        ))?;
    }
    if args.dry_run {
        return Ok(());
    }
    let steps: Vec<_> = plan.steps.iter().map(|(step, _)| Arc::clone(step)).collect();
    if place.run(&steps, true)? != Ran::Done {
        return Ok(());
    }
    let rows = arms.iter().filter_map(|(name, arm)| SummaryRow::of(name, arm, &store).transpose());
    let summary = Summary { rows: rows.collect::<Result<_, _>>()? };
    say(format!("\n{}", summary.scores()))?;
    if let Some(labels) = summary.labels() {
        say(labels)?;
    }
    let name = args.config.name().replace(['/', '\\'], "-").replace(".toml", "");
    let out = args.out.clone().unwrap_or_else(|| args.store.join(format!("{name}-{}-{seed}", args.ratio)));
    let title = format!("{}, {} % of the masks, seed {seed}", args.config.name(), args.ratio);
    summary.write(&title, &out)?;
    say(format!("{}: results.md, results.csv, results.json, results.png", out.display()))?;
    Ok(())
}

/// Step 1: a checkpoint that is there, or a training.
fn rec(args: &PipelineArgs, res: &Config, log: &Log) -> Result<Rec> {
    let given = match (&args.rec, &args.rec_config, &res.train.finetune_from) {
        (Some(name), _, _) => Some(checkpoint_path(name, log)?),
        (None, None, Some(path)) => Some(path.clone()),
        (None, _, _) => None,
    };
    if let Some(path) = given {
        ensure!(
            args.sets_rec.is_empty(),
            "--set-rec changes a training of REC, but {} is taken; have one trained with --rec-config",
            path.display()
        );
        let origin = Origin::given(path)
            .context("the REC checkpoint; name one with --rec, or train it with --rec-config")?;
        return Ok(Rec::Given(origin));
    }
    let name = match &args.rec_config {
        Some(name) => name.clone(),
        None => args.config.name().replacen("res/", "rec/", 1),
    };
    let data = args.config.sets.iter().filter(|set| set.starts_with("data."));
    let sets: Vec<String> = data.chain(&args.sets_rec).cloned().collect();
    let config = Config::load(&name, &sets).context("the configuration of REC; name it with --rec-config")?;
    Rec::train(config, res).with_context(|| format!("the configuration of REC, {name}"))
}
