//! `results.png`: the curves of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use image::RgbImage;
use plotters::prelude::*;

use super::axes::{self, Area, FONT, colour, failed, legend};
use super::{LOSS_PARTS, Protocol, ReportError, ResultRow, Weights, read_results, save_picture};

const PANEL: (u32, u32) = (620, 500);

/// Draws the curves of `results.csv` into a PNG: training loss, its parts and learning rate, mIoU, box
/// accuracy, each against epochs.
pub fn plot_results(csv: &Path, png: &Path) -> Result<(), ReportError> {
    let rows = read_results(csv)?;
    if rows.is_empty() {
        return Err(ReportError::NoResults { path: csv.into() });
    }
    save_picture(&draw_results(&rows)?, png)
}

/// The curves as a picture. A panel without a value is left out.
pub fn draw_results(rows: &[ResultRow]) -> Result<RgbImage, ReportError> {
    let loss: Curve = rows.iter().filter_map(|row| Some((row.epoch as f64, row.loss?))).collect();
    let parts = LOSS_PARTS.iter().enumerate().map(|(i, name)| {
        let points = rows.iter().filter_map(|row| Some((row.epoch as f64, row.loss_parts[i]?)));
        (*name, points.collect::<Curve>())
    });
    let parts: Vec<(&str, Curve)> = parts.filter(|(_, curve)| !curve.is_empty()).collect();
    let lr: Curve = rows.iter().filter_map(|row| Some((row.epoch as f64, row.lr?))).collect();
    let miou = score_curves(rows, |row| row.miou);
    let boxes = score_curves(rows, |row| row.box_acc);

    let panels = [!loss.is_empty(), !miou.is_empty(), !boxes.is_empty()];
    let count = panels.iter().filter(|&&shown| shown).count().max(1);
    let (width, height) = (PANEL.0 * count as u32, PANEL.1);
    axes::picture((width, height), |root| {
        let mut areas = root.split_evenly((1, count)).into_iter();
        let mut next = |shown: bool| if shown { areas.next() } else { None };
        if let Some(area) = next(panels[0]) {
            draw_loss(&area, &loss, &parts, &lr)?;
        }
        if let Some(area) = next(panels[1]) {
            draw_scores(&area, "Masks (standard protocol)", "mIoU, %", &miou)?;
        }
        if let Some(area) = next(panels[2]) {
            draw_scores(&area, "Boxes (IoU over 0.5)", "box accuracy, %", &boxes)?;
        }
        Ok(())
    })
}

type Curve = Vec<(f64, f64)>;

/// A curve for each split and kind of weights; splits get a colour each, raw weights a thin line.
fn score_curves(
    rows: &[ResultRow],
    score: impl Fn(&ResultRow) -> Option<f64>,
) -> BTreeMap<(String, Weights), Curve> {
    let mut curves = BTreeMap::<_, Curve>::new();
    for row in rows.iter().filter(|row| row.protocol == Protocol::Standard) {
        if let Some(value) = score(row) {
            curves.entry((row.split.clone(), row.weights)).or_default().push((row.epoch as f64, value));
        }
    }
    curves
}

fn epochs<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> std::ops::Range<f64> {
    0.0..points.map(|p| p.0).fold(1.0, f64::max) * 1.02
}

fn largest(curve: &Curve) -> f64 {
    curve.iter().map(|p| p.1).filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, f64::max)
}

/// Epochs are whole; marks between them stay without a number.
fn whole(epoch: &f64) -> String {
    if (epoch - epoch.round()).abs() < 1e-6 { format!("{epoch:.0}") } else { String::new() }
}

/// The loss, what it is made of (thin, before the weights), and the learning rate.
fn draw_loss(area: &Area<'_>, loss: &Curve, parts: &[(&str, Curve)], lr: &Curve) -> Result<(), ReportError> {
    let drawn = loss.iter().chain(parts.iter().flat_map(|(_, curve)| curve));
    let finite: Vec<f64> = drawn.map(|p| p.1).filter(|v| v.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let room = (0.06 * (high - low)).max(0.02 * high.abs()).max(1e-6);
    let values = if finite.is_empty() { 0.0..1.0 } else { low - room..high + room };
    let rates = 0.0..1.08 * largest(lr);
    let x = epochs(loss.iter().chain(lr));
    let mut chart = ChartBuilder::on(area)
        .caption("Training", (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .right_y_label_area_size(72)
        .build_cartesian_2d(x.clone(), values)
        .map_err(failed)?
        .set_secondary_coord(x, rates);
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("loss")
        .x_labels(8)
        .x_label_formatter(&whole)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 16))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    chart
        .configure_secondary_axes()
        .y_desc("learning rate")
        .y_label_formatter(&|v| if *v == 0.0 { "0".into() } else { format!("{v:.1e}") })
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 16))
        .draw()
        .map_err(failed)?;
    let rate_style = colour(7).mix(0.8).stroke_width(1);
    chart
        .draw_secondary_series(LineSeries::new(lr.iter().copied(), rate_style))
        .map_err(failed)?
        .label("learning rate")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], rate_style));
    let total = std::iter::once(("loss", loss, colour(1).stroke_width(2)));
    // Colours 1 and 7 are taken.
    let parts = parts.iter().zip(2..).map(|((name, curve), i)| (*name, curve, colour(i).stroke_width(1)));
    for (name, curve, style) in total.chain(parts) {
        let finite: Curve = curve.iter().copied().filter(|p| p.1.is_finite()).collect();
        chart
            .draw_series(LineSeries::new(finite, style).point_size(2))
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

fn draw_scores(
    area: &Area<'_>,
    title: &str,
    axis: &str,
    curves: &BTreeMap<(String, Weights), Curve>,
) -> Result<(), ReportError> {
    let top = (1.12 * curves.values().map(largest).fold(0.0, f64::max)).clamp(5.0, 100.0);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(epochs(curves.values().flatten()), 0.0..top)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc(axis)
        .x_labels(8)
        .x_label_formatter(&whole)
        .y_label_formatter(&|v| format!("{v:.0}"))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 16))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(failed)?;
    let splits: BTreeSet<&str> = curves.keys().map(|(split, _)| split.as_str()).collect();
    for ((split, weights), curve) in curves {
        let index = splits.iter().position(|other| other == split).unwrap_or(0);
        let style = match weights {
            Weights::Raw => colour(index).mix(0.5).stroke_width(1),
            Weights::Ema => colour(index).to_rgba().stroke_width(3),
        };
        let last = curve.last().map_or(String::new(), |p| format!(" {:.1}", p.1));
        chart
            .draw_series(LineSeries::new(curve.iter().copied(), style).point_size(2))
            .map_err(failed)?
            .label(format!("{split} {weights}{last}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{PALETTE, Scores};

    /// A made-up run.
    fn run(epochs: usize) -> Vec<ResultRow> {
        let mut rows = Vec::new();
        for epoch in 1..=epochs {
            let t = epoch as f64 / epochs as f64;
            for (weights, lead) in [(Weights::Raw, 0.0), (Weights::Ema, 3.0)] {
                let scores = Scores {
                    miou: Some(68.0 * (1.0 - (-3.0 * t).exp()) + lead * t + 2.0 * (5.0 * t).sin()),
                    box_acc: Some(80.0 * (1.0 - (-4.0 * t).exp()) + lead),
                    ..Scores::default()
                };
                let row = ResultRow::new((epoch, epoch * 9), "val", weights, Protocol::Standard, &scores);
                let loss = (weights == Weights::Raw).then_some(6.0 * (-2.0 * t).exp());
                rows.push(ResultRow { loss, lr: Some(5e-4 * if t < 0.8 { 1.0 } else { 0.1 }), ..row });
            }
        }
        rows
    }

    #[test]
    fn curves_of_any_length_are_drawn() {
        for epochs in [1, 2, 90] {
            let picture = draw_results(&run(epochs)).expect("drawn");
            assert_eq!(picture.dimensions(), (3 * PANEL.0, PANEL.1));
            let [r, g, b] = PALETTE[1];
            assert!(
                picture.pixels().filter(|p| p.0 == [r, g, b]).count() > 20,
                "no curve of {epochs} epochs"
            );
        }
        let parted =
            |row: ResultRow| ResultRow { loss_parts: [row.loss, None, None, Some(0.5), None], ..row };
        let picture = draw_results(&run(9).into_iter().map(parted).collect::<Vec<_>>()).expect("drawn");
        let [r, g, b] = PALETTE[3];
        assert!(picture.pixels().filter(|p| p.0 == [r, g, b]).count() > 20, "no curve of a part");
        let odd = ResultRow { loss: Some(f64::NAN), ..run(1).remove(0) };
        draw_results(&[odd]).expect("a loss that is no number leaves a gap");
    }
}
