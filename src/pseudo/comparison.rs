//! Labels of several files side by side: tables, figures, curves.

use std::path::Path;

use serde::Serialize;

use super::{Contest, Order, PseudoError, Ranking, Worth};
use crate::report::{Chart, Line, ReportError, Table, save_picture, write_whole};

/// The best-ranked shares that are looked at, in percent.
const SHARES: [usize; 6] = [1, 5, 10, 30, 50, 100];

/// One file of labels, in all orders that say something about them.
#[derive(Clone, Debug)]
pub struct Entrant {
    pub name: String,
    pub rankings: Vec<Ranking>,
}

/// One file's labels against the first one's, equally many of each.
#[derive(Clone, Debug, Serialize)]
struct Duel {
    labels: String,
    ranked_by: Order,
    /// At the threshold that was asked for, and at the paper's best one.
    contests: Vec<Contest>,
    least_lead: f64,
}

/// Labels of several files; the first ones are the paper's.
#[derive(Clone, Debug)]
pub struct Comparison {
    entrants: Vec<Entrant>,
    /// The files after the first one, ranked by expected IoU, or by score where that can't be learnt.
    duels: Vec<Duel>,
}

/// The best share of the labels in one order.
#[derive(Serialize)]
struct Best {
    /// In percent.
    share: usize,
    worth: Worth,
}

impl Best {
    fn of(ranking: &Ranking) -> impl Iterator<Item = Self> {
        SHARES.into_iter().map(|share| Self { share, worth: best_percent(ranking, share) })
    }
}

fn best_percent(ranking: &Ranking, share: usize) -> Worth {
    ranking.best((ranking.len() * share).div_ceil(100))
}

impl Comparison {
    /// Of the paper's labels, those with projection terms below `threshold` are kept.
    pub fn new(entrants: Vec<Entrant>, threshold: f64) -> Self {
        let paper = entrants.first().and_then(|first| Order::ProjectionTerm.of(&first.rankings));
        let duel = |entrant: &Entrant, paper: &Ranking| {
            let ours = Order::of_pick(&entrant.rankings)?;
            let thresholds = [Some(threshold), paper.best_threshold()];
            Some(Duel {
                labels: entrant.name.clone(),
                ranked_by: ours.order,
                contests: thresholds.into_iter().flatten().filter_map(|at| ours.against(paper, at)).collect(),
                least_lead: ours.least_lead(paper),
            })
        };
        let duels = paper.map_or_else(Vec::new, |paper| {
            entrants.iter().skip(1).filter_map(|entrant| duel(entrant, paper)).collect()
        });
        Self { entrants, duels }
    }

    /// Mean true IoU of the best-ranked shares, in percent.
    pub fn shares(&self) -> Table {
        let mut headers = vec!["labels".to_owned(), "ranked by".to_owned()];
        headers.extend(SHARES.map(|share| format!("{share} %")));
        headers.extend(["P@.5", "P@.9"].map(|name| format!("{name} of all")));
        let mut table = Table::new(headers);
        for entrant in &self.entrants {
            for ranking in &entrant.rankings {
                let mut cells = vec![entrant.name.clone(), ranking.order.name().to_owned()];
                cells.extend(Best::of(ranking).map(|best| format!("{:.1}", best.worth.iou)));
                let whole = ranking.best(ranking.len());
                cells.extend([whole.p50, whole.p90].map(|share| format!("{share:.1}")));
                table.row(cells);
            }
            table.rule();
        }
        table
    }

    /// The files after the first one beside it, where equally many are kept; none without such files.
    pub fn equally_many(&self) -> Option<Table> {
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
        for duel in &self.duels {
            for contest in &duel.contests {
                table.row([
                    duel.labels.clone(),
                    duel.ranked_by.name().to_owned(),
                    format!("{:.3}", contest.threshold),
                    contest.paper.labels.to_string(),
                    format!("{:.1}", contest.paper.iou),
                    format!("{:.1}", contest.ours.iou),
                    format!("{:+.1}", contest.ours.iou - contest.paper.iou),
                    format!("{:+.1}", contest.same_referents),
                    format!("{:.1}", contest.better),
                    format!("{:+.1}", duel.least_lead),
                ]);
            }
        }
        (!self.duels.is_empty()).then_some(table)
    }

    /// Writes `judged.md`, `.csv`, `.json` and `.png` into `folder`, which is made if need be.
    pub fn write(&self, folder: &Path) -> Result<(), PseudoError> {
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            write_whole(&path, |file| {
                std::io::Write::write_all(file, bytes)
                    .map_err(|source| ReportError::Io { path: path.clone(), source })
            })
        };
        put("judged.md", self.page().as_bytes())?;
        put("judged.csv", &self.csv())?;
        put("judged.json", self.json().as_bytes())?;
        Ok(save_picture(&self.chart().draw()?, &folder.join("judged.png"))?)
    }

    fn page(&self) -> String {
        let shares = self.shares().markdown();
        let beside = self.equally_many().map(|table| format!("\nEqually many kept:\n\n{}", table.markdown()));
        format!(
            "Mean true IoU of the best-ranked share, in percent:\n\n{shares}{}",
            beside.unwrap_or_default()
        )
    }

    fn csv(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Row<'a> {
            labels: &'a str,
            ranked_by: &'a str,
            share: usize,
            count: usize,
            iou: f64,
            p50: f64,
            p90: f64,
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        for entrant in &self.entrants {
            for ranking in &entrant.rankings {
                for Best { share, worth: Worth { labels: count, iou, p50, p90 } } in Best::of(ranking) {
                    let (labels, ranked_by) = (entrant.name.as_str(), ranking.order.name());
                    let row = Row { labels, ranked_by, share, count, iou, p50, p90 };
                    writer.serialize(row).expect("numbers and text, into memory");
                }
            }
        }
        writer.into_inner().expect("into memory")
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Ranked {
            ranked_by: Order,
            best: Vec<Best>,
        }
        #[derive(Serialize)]
        struct Labels<'a> {
            labels: &'a str,
            rankings: Vec<Ranked>,
        }
        #[derive(Serialize)]
        struct Figures<'a> {
            labels: Vec<Labels<'a>>,
            equally_many: &'a [Duel],
        }
        let ranked =
            |ranking: &Ranking| Ranked { ranked_by: ranking.order, best: Best::of(ranking).collect() };
        let labels = self.entrants.iter().map(|entrant| Labels {
            labels: &entrant.name,
            rankings: entrant.rankings.iter().map(ranked).collect(),
        });
        let figures = Figures { labels: labels.collect(), equally_many: &self.duels };
        serde_json::to_string_pretty(&figures).expect("plain data") + "\n"
    }

    fn chart(&self) -> Chart<'_> {
        let line = |entrant: &Entrant, ranking: &Ranking| Line {
            name: format!("{}, {}", entrant.name, ranking.order.name()),
            points: (1..=100)
                .map(|share| best_percent(ranking, share))
                .map(|best| (best.labels as f64, best.iou, 0.0))
                .collect(),
        };
        let shown = [Order::ProjectionTerm, Order::ExpectedIou];
        let lines = self.entrants.iter().flat_map(|entrant| {
            shown.into_iter().filter_map(move |order| Some(line(entrant, order.of(&entrant.rankings)?)))
        });
        Chart {
            title: "Labels, best first",
            x: "labels kept",
            y: "their mean true IoU, %",
            marks: None,
            lines: lines.collect(),
        }
    }
}
