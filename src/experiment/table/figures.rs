//! Means, spreads and pictures.

use std::collections::{BTreeMap, BTreeSet};

use super::{CurvePoint, RawRow};
use crate::experiment::ExperimentError;
use crate::report::{Chart, Line};
use image::RgbImage;

/// Mean and sample standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub count: usize,
    pub mean: f64,
    /// None of a single value.
    pub deviation: Option<f64>,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = (count > 0).then(|| values.iter().sum::<f64>() / count as f64)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        Some(Self { count, mean, deviation })
    }

    /// `51.23 ± 0.40`.
    pub fn text(of: Option<Self>) -> String {
        match of {
            None => "-".to_owned(),
            Some(Self { mean, deviation: None, .. }) => format!("{mean:.2}"),
            Some(Self { mean, deviation: Some(deviation), .. }) => format!("{mean:.2} ± {deviation:.2}"),
        }
    }
}

/// mIoU on `val` against steps, a line for each of these rows, the mean of its seeds.
pub fn curves(points: &[CurvePoint], rows: &[&str]) -> Result<RgbImage, ExperimentError> {
    let lines = rows.iter().filter_map(|name| mean_curve(points, name)).collect();
    let chart = Chart {
        title: "Learning curves",
        x: "steps",
        y: "val mIoU, %, mean of the seeds",
        marks: None,
        lines,
    };
    Ok(chart.draw()?)
}

/// The n-th evaluation of each seed belongs together: where labels are picked, seeds take different numbers of
/// steps.
fn mean_curve(points: &[CurvePoint], name: &str) -> Option<Line> {
    let mut seeds: BTreeMap<u64, Vec<(usize, f64)>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.row == name) {
        seeds.entry(point.seed).or_default().push((point.steps, point.miou));
    }
    seeds.values_mut().for_each(|curve| curve.sort_by_key(|(steps, _)| *steps));
    let equally_often = seeds.values().map(Vec::len).collect::<BTreeSet<_>>().len() == 1;
    let mut together: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    for (place, &(steps, miou)) in seeds.values().flat_map(|curve| curve.iter().enumerate()) {
        together.entry(if equally_often { place } else { steps }).or_default().push((steps, miou));
    }
    let most = together.values().map(Vec::len).max()?;
    // Where only some seeds have a value, a mean would jump.
    let points = together.into_values().filter(|values| values.len() == most).filter_map(|values| {
        let (steps, mious): (Vec<f64>, Vec<f64>) =
            values.into_iter().map(|(steps, miou)| (steps as f64, miou)).unzip();
        Some((Spread::of(&steps)?.mean, Spread::of(&mious)?.mean, 0.0))
    });
    Some(Line { name: name.to_owned(), points: points.collect() })
}

/// mIoU on `split` against the share of masks, a line for each method on each data set. `rows` are cells that
/// differ in nothing else.
pub fn efficiency(rows: &[&RawRow], title: &str, split: &str) -> Result<RgbImage, ExperimentError> {
    let lines = shares(rows, split);
    let mut marks: Vec<f64> = lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let y = format!("{split} mIoU, %, mean and spread of the seeds");
    let chart = Chart { title, x: "share of masks, %", y: &y, marks: Some(&marks), lines };
    Ok(chart.draw()?)
}

/// The lines of [`efficiency`]; `full` of a data set ends all of its lines.
fn shares(rows: &[&RawRow], split: &str) -> Vec<Line> {
    let mut sets: BTreeMap<&str, BTreeMap<&str, BTreeMap<u32, Vec<f64>>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.split == split) {
        if let Some(miou) = row.miou {
            let methods = sets.entry(&row.dataset).or_default();
            methods.entry(&row.method).or_default().entry(row.ratio).or_default().push(miou);
        }
    }
    let several = sets.len() > 1;
    let mut lines = Vec::new();
    for (dataset, mut methods) in sets {
        let full = methods.remove("full").unwrap_or_default();
        if methods.is_empty() {
            methods.insert("full", BTreeMap::new());
        }
        lines.extend(methods.into_iter().map(|(method, line)| {
            let points = line.iter().chain(&full).filter_map(|(&ratio, values)| {
                let Spread { mean, deviation, .. } = Spread::of(values)?;
                Some((f64::from(ratio), mean, deviation.unwrap_or(0.0)))
            });
            let name = if several { format!("{method}, {dataset}") } else { method.to_owned() };
            Line { name, points: points.collect() }
        }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_of_samples() {
        let spread = Spread::of(&[1.0, 2.0, 3.0]);
        assert_eq!(spread, Some(Spread { count: 3, mean: 2.0, deviation: Some(1.0) }));
        assert_eq!(Spread::text(spread), "2.00 ± 1.00");
        assert_eq!(Spread::text(Spread::of(&[4.0])), "4.00");
        assert_eq!(Spread::text(Spread::of(&[])), "-");
    }

    #[test]
    fn evaluations_of_seeds_of_different_lengths_are_averaged_in_turn() {
        let point = |seed, steps, miou| CurvePoint { row: "rpp".into(), seed, steps, miou };
        let mut points = vec![point(1, 10, 20.0), point(1, 20, 40.0), point(2, 30, 50.0), point(2, 14, 30.0)];
        let mean = |points: &[CurvePoint]| mean_curve(points, "rpp").expect("a line").points;
        assert_eq!(mean(&points), [(12.0, 25.0, 0.0), (25.0, 45.0, 0.0)]);
        // Evaluated more often: what all have at the same steps.
        points =
            [(1, 10), (1, 20), (2, 10), (2, 15), (2, 20)].map(|(seed, steps)| point(seed, steps, 1.0)).into();
        assert_eq!(mean(&points), [(10.0, 1.0, 0.0), (20.0, 1.0, 0.0)]);
    }

    #[test]
    fn data_sets_have_lines_of_their_own() {
        let row = |dataset: &str, method: &str, ratio, miou| RawRow {
            dataset: dataset.into(),
            method: method.into(),
            ratio,
            split: "val".into(),
            miou: Some(miou),
            ..RawRow::default()
        };
        let unc = [("rpp", 5, 40.0), ("rpp", 5, 44.0), ("rpp", 1, 30.0), ("full", 100, 50.0)];
        let mut rows: Vec<RawRow> =
            unc.into_iter().map(|(method, ratio, miou)| row("unc", method, ratio, miou)).collect();
        let lines = |rows: &[RawRow]| {
            let lines = shares(&rows.iter().collect::<Vec<_>>(), "val").into_iter();
            let means = |line: Line| (line.name, line.points.iter().map(|p| (p.0, p.1)).collect::<Vec<_>>());
            lines.map(means).collect::<Vec<_>>()
        };
        let of_unc = vec![(1.0, 30.0), (5.0, 42.0), (100.0, 50.0)];
        assert_eq!(lines(&rows), [("rpp".to_owned(), of_unc.clone())]);
        rows.extend([row("g", "rpp", 5, 20.0), row("g", "full", 100, 25.0), row("plus", "full", 100, 60.0)]);
        let expected = [
            ("rpp, g", vec![(5.0, 20.0), (100.0, 25.0)]),
            ("full, plus", vec![(100.0, 60.0)]),
            ("rpp, unc", of_unc),
        ];
        assert_eq!(lines(&rows), expected.map(|(name, points)| (name.to_owned(), points)));
    }
}
