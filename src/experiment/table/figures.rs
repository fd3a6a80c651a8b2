//! Means, spreads and pictures.

use std::collections::BTreeMap;

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
    let line = |&name: &&str| {
        let mut steps: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for point in points.iter().filter(|point| point.row == name) {
            steps.entry(point.steps).or_default().push(point.miou);
        }
        let seeds = steps.values().map(Vec::len).max()?;
        // Where only some seeds have a value, a mean would jump.
        let points = steps
            .into_iter()
            .filter(|(_, values)| values.len() == seeds)
            .filter_map(|(steps, values)| Some((steps as f64, Spread::of(&values)?.mean, 0.0)));
        Some(Line { name: name.to_owned(), points: points.collect() })
    };
    let lines = rows.iter().filter_map(line).collect();
    let chart = Chart {
        title: "Learning curves",
        x: "steps",
        y: "val mIoU, %, mean of the seeds",
        marks: None,
        lines,
    };
    Ok(chart.draw()?)
}

/// mIoU on `split` against the share of masks, a line for each method. `rows` are cells that differ in
/// nothing else; `full` ends every line.
pub fn efficiency(rows: &[&RawRow], title: &str, split: &str) -> Result<RgbImage, ExperimentError> {
    let mut methods: BTreeMap<&str, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.split == split) {
        if let Some(miou) = row.miou {
            methods.entry(&row.method).or_default().entry(row.ratio).or_default().push(miou);
        }
    }
    let full = methods.remove("full").unwrap_or_default();
    let mut marks: Vec<f64> =
        methods.values().chain([&full]).flat_map(|line| line.keys()).map(|&r| f64::from(r)).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    if methods.is_empty() {
        methods.insert("full", BTreeMap::new());
    }
    let lines = methods.into_iter().map(|(name, line)| {
        let points = line.iter().chain(&full).filter_map(|(&ratio, values)| {
            let Spread { mean, deviation, .. } = Spread::of(values)?;
            Some((f64::from(ratio), mean, deviation.unwrap_or(0.0)))
        });
        Line { name: name.to_owned(), points: points.collect() }
    });
    let y = format!("{split} mIoU, %, mean and spread of the seeds");
    let chart = Chart { title, x: "share of masks, %", y: &y, marks: Some(&marks), lines: lines.collect() };
    Ok(chart.draw()?)
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
}
