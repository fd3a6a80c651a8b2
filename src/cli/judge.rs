//! `partial-res judge`: labels beside true masks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use partial_res::data::{Annotations, INSTANCES, annotation_file};
use partial_res::pseudo::{Contest, Judge, Order, Predictions, Ranking, Worth, rank, sample_file};
use partial_res::report::{Chart, Line, Table, save_picture};
use serde_json::{Value, json};

use super::shared::say;

/// The best-ranked shares that are looked at, in percent.
const SHARES: [usize; 6] = [1, 5, 10, 30, 50, 100];

/// Measure labels by the true masks of their referents
///
/// For experiments: the masks must be there, but not in the sample. Says how good the best-ranked labels
/// of each file are, ranked by all that can be said about a label, and what the other files have where they
/// keep as many as the paper's threshold keeps of the first.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res judge --dataset refshapes-unc --ratio 5 paper=rpp.jsonl ours=close-ups.jsonl --out judged"
)]
pub struct JudgeArgs {
    /// What `label` wrote, each with a name if wanted; the first one's are the paper's (RPP)
    #[arg(required = true, value_name = "[NAME=]FILE")]
    predictions: Vec<String>,
    /// A folder of ROOT/annotations
    #[arg(long)]
    dataset: String,
    /// Percent of the labelled sample: reads instances_sample_<RATIO>.json
    #[arg(long, required_unless_present = "labelled")]
    ratio: Option<u32>,
    /// The labelled sample, if it lies elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "ratio")]
    labelled: Option<PathBuf>,
    /// Holds annotations/ and images/
    #[arg(long, default_value = "data")]
    root: PathBuf,
    /// Of the paper's labels, projection terms below it are kept; 0 to 2
    #[arg(long, default_value_t = Judge::default().threshold)]
    threshold: f64,
    /// Write judged.md, .csv, .json and .png there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One file of predictions.
struct Entrant {
    name: String,
    rankings: Vec<Ranking>,
}

pub fn run(args: &JudgeArgs) -> Result<()> {
    ensure!((0.0..=2.0).contains(&args.threshold), "--threshold {}: expected 0 to 2", args.threshold);
    let all = Annotations::read(&annotation_file(&args.root, &args.dataset, INSTANCES)?)?;
    let labelled = match (&args.labelled, args.ratio) {
        (Some(path), _) => path.clone(),
        (None, ratio) => annotation_file(&args.root, &args.dataset, &sample_file(ratio.unwrap_or_default()))
            .context("the labelled sample; `sample` draws one")?,
    };
    let labelled = Annotations::read(&labelled)?;
    let read = |argument: &String| {
        let (name, path) = named(argument);
        let predictions =
            Predictions::read(path).context("labels to judge; `label --out FILE` writes them")?;
        let rankings = rank(&all, &labelled, &predictions)?;
        ensure!(!rankings.is_empty(), "{}: no referent without a label has a true mask", path.display());
        Ok(Entrant { name, rankings })
    };
    let entrants: Vec<Entrant> = args.predictions.iter().map(read).collect::<Result<_>>()?;
    let contests = contests(&entrants, args.threshold);
    let tables = [shares(&entrants), beside(&contests)];
    say(&tables[0])?;
    if !contests.is_empty() {
        say(format!("\n{}", tables[1]))?;
    }
    if let Some(folder) = &args.out {
        write(folder, &entrants, &contests, &tables)?;
        say(format!("{}: judged.md, judged.csv, judged.json, judged.png", folder.display()))?;
    }
    Ok(())
}

/// `NAME=FILE`; a file alone is named after itself.
fn named(argument: &str) -> (String, &Path) {
    match argument.split_once('=') {
        Some((name, path)) if !name.contains(['/', '\\']) => (name.to_owned(), Path::new(path)),
        _ => {
            let path = Path::new(argument);
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path)
        }
    }
}

/// The best labels of all orders: share in percent, what they are worth.
fn best(ranking: &Ranking) -> impl Iterator<Item = (usize, Worth)> {
    SHARES.into_iter().map(|share| (share, ranking.best((ranking.len() * share).div_ceil(100))))
}

fn shares(entrants: &[Entrant]) -> Table {
    let share = SHARES.map(|share| format!("{share} %"));
    let mut headers = vec!["labels".to_owned(), "ranked by".to_owned()];
    headers.extend(share);
    headers.extend(["P@.5", "P@.9"].map(|name| format!("{name} of all")));
    let mut table = Table::new(headers);
    for entrant in entrants {
        for ranking in &entrant.rankings {
            let mut cells = vec![entrant.name.clone(), ranking.order.name().to_owned()];
            cells.extend(best(ranking).map(|(_, worth)| format!("{:.1}", worth.iou)));
            let whole = ranking.best(ranking.len());
            cells.extend([whole.p50, whole.p90].map(|share| format!("{share:.1}")));
            table.row(cells);
        }
        table.rule();
    }
    table
}

/// One file against the paper's.
struct Pair<'a> {
    name: &'a str,
    order: Order,
    /// At the threshold that was asked for, and at the paper's best one.
    contests: Vec<Contest>,
    least_lead: f64,
}

/// The files after the first one, ranked by expected IoU, or by score where that can't be learnt.
fn contests(entrants: &[Entrant], threshold: f64) -> Vec<Pair<'_>> {
    let Some((first, others)) = entrants.split_first() else { return Vec::new() };
    let Some(paper) = Order::ProjectionTerm.of(&first.rankings) else { return Vec::new() };
    let pair = |entrant: &'_ Entrant| {
        let ours = Order::of_pick(&entrant.rankings)?;
        let thresholds = [Some(threshold), paper.best_threshold()];
        let contests = thresholds.into_iter().flatten().filter_map(|at| ours.against(paper, at));
        Some((ours.order, contests.collect(), ours.least_lead(paper)))
    };
    let pairs = others.iter().filter_map(|entrant| {
        let (order, contests, least_lead) = pair(entrant)?;
        Some(Pair { name: &entrant.name, order, contests, least_lead })
    });
    pairs.collect()
}

fn beside(pairs: &[Pair<'_>]) -> Table {
    let mut table = Table::new([
        "labels",
        "ranked by",
        "threshold",
        "kept",
        "paper's IoU",
        "their IoU",
        "difference",
        "on the same referents",
        "better in, %",
        "least lead",
    ]);
    for pair in pairs {
        for contest in &pair.contests {
            let difference = contest.ours.iou - contest.paper.iou;
            table.row([
                pair.name.to_owned(),
                pair.order.name().to_owned(),
                format!("{:.3}", contest.threshold),
                contest.paper.labels.to_string(),
                format!("{:.1}", contest.paper.iou),
                format!("{:.1}", contest.ours.iou),
                format!("{difference:+.1}"),
                format!("{:+.1}", contest.same_referents),
                format!("{:.1}", contest.better),
                format!("{:+.1}", pair.least_lead),
            ]);
        }
    }
    table
}

fn write(folder: &Path, entrants: &[Entrant], pairs: &[Pair<'_>], tables: &[Table; 2]) -> Result<()> {
    let mut page = format!("Mean true IoU of the best-ranked share, in percent:\n\n{}", tables[0].markdown());
    if !pairs.is_empty() {
        page += &format!("\nEqually many kept:\n\n{}", tables[1].markdown());
    }
    let mut csv = "labels,ranked_by,share,count,iou,p50,p90\n".to_owned();
    for (entrant, ranking) in entrants.iter().flat_map(|e| e.rankings.iter().map(move |r| (e, r))) {
        for (share, Worth { labels, iou, p50, p90 }) in best(ranking) {
            let (name, order) = (entrant.name.replace(',', "_"), ranking.order.name());
            csv += &format!("{name},{order},{share},{labels},{iou},{p50},{p90}\n");
        }
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    put("judged.md", &page)?;
    put("judged.csv", &csv)?;
    put("judged.json", &(serde_json::to_string_pretty(&figures(entrants, pairs))? + "\n"))?;
    let line = |entrant: &Entrant, ranking: &Ranking| Line {
        name: format!("{}, {}", entrant.name, ranking.order.name()),
        points: (1..=100)
            .map(|share| ((ranking.len() * share).div_ceil(100), share))
            .map(|(count, _)| (count as f64, ranking.best(count).iou, 0.0))
            .collect(),
    };
    let shown = [Order::ProjectionTerm, Order::ExpectedIou];
    let lines = entrants.iter().flat_map(|entrant| {
        shown.into_iter().filter_map(move |order| Some(line(entrant, order.of(&entrant.rankings)?)))
    });
    let chart = Chart {
        title: "Labels, best first",
        x: "labels kept",
        y: "their mean true IoU, %",
        marks: None,
        lines: lines.collect(),
    };
    Ok(save_picture(&chart.draw()?, &folder.join("judged.png"))?)
}

fn figures(entrants: &[Entrant], pairs: &[Pair<'_>]) -> Value {
    let of_entrant = |entrant: &Entrant| {
        let of_ranking = |ranking: &Ranking| {
            let best = best(ranking).map(|(share, worth)| json!({"share": share, "worth": worth}));
            json!({"ranked_by": ranking.order, "best": best.collect::<Vec<_>>()})
        };
        json!({"labels": entrant.name, "rankings": entrant.rankings.iter().map(of_ranking).collect::<Vec<_>>()})
    };
    let of_pair = |pair: &Pair<'_>| {
        json!({
            "labels": pair.name,
            "ranked_by": pair.order,
            "contests": pair.contests,
            "least_lead": pair.least_lead,
        })
    };
    json!({
        "labels": entrants.iter().map(of_entrant).collect::<Vec<_>>(),
        "equally_many": pairs.iter().map(of_pair).collect::<Vec<_>>(),
    })
}
