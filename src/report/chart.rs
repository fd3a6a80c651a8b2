//! Lines against a common axis.

use image::RgbImage;
use plotters::prelude::*;

use super::ReportError;
use super::axes::{self, FONT, colour, failed};
use super::canvas::PALETTE;

const SIZE: (u32, u32) = (1040, 540);
/// On the right, for the names of the lines, where no line runs.
const NAMES: u32 = 260;

/// A chart of several lines.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// Logarithmic x, marked at these places. Lines are then named without their last value.
    pub marks: Option<&'a [f64]>,
    pub lines: Vec<Line>,
}

/// Points from left to right, each with how far up and down it spreads.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    /// x, y, spread.
    pub points: Vec<(f64, f64, f64)>,
}

impl Chart<'_> {
    pub fn draw(&self) -> Result<RgbImage, ReportError> {
        let points = || self.lines.iter().flat_map(|line| &line.points).filter(|point| point.1.is_finite());
        let fold = |of: fn(&(f64, f64, f64)) -> f64, start: f64, with: fn(f64, f64) -> f64| {
            points().map(of).fold(start, with)
        };
        let low = fold(|p| p.1 - p.2, f64::INFINITY, f64::min);
        let high = fold(|p| p.1 + p.2, f64::NEG_INFINITY, f64::max);
        let room = (0.06 * (high - low)).max(0.5);
        let y = if low <= high { low - room..high + room } else { 0.0..1.0 };
        let across = |value: f64| if self.marks.is_some() { value.max(1e-9).log10() } else { value };
        let left = points().map(|p| across(p.0)).fold(f64::INFINITY, f64::min);
        let right = points().map(|p| across(p.0)).fold(f64::NEG_INFINITY, f64::max);
        // Room beside a single place: a step of the axis, so that its label stands once.
        let room = (0.02 * (right - left)).max(if self.marks.is_some() { 0.05 } else { 1.0 });
        let decimals = usize::from(high - low < 8.0);
        let x = if left <= right { left - room..right + room } else { 0.0..1.0 };
        axes::picture(SIZE, |root| {
            let (plot, names) = root.split_horizontally(SIZE.0 - NAMES);
            let mut chart = ChartBuilder::on(&plot)
                .caption(self.title, (FONT, 20))
                .margin(12)
                .x_label_area_size(44)
                .y_label_area_size(60)
                .build_cartesian_2d(x, y)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .x_desc(self.x)
                .y_desc(self.y)
                .x_labels(if self.marks.is_some() { 0 } else { (right - left).clamp(3.0, 8.0) as usize })
                .x_label_formatter(&|v| format!("{v:.0}"))
                .y_label_formatter(&|v| format!("{v:.decimals$}"))
                .label_style((FONT, 14))
                .axis_desc_style((FONT, 16))
                .light_line_style(TRANSPARENT)
                .draw()
                .map_err(failed)?;
            let bottom = chart.y_range().start;
            for &mark in self.marks.unwrap_or_default() {
                // Above the axis: what lies below is cut off.
                let place = EmptyElement::at((across(mark), bottom));
                let tick = Circle::new((0, 0), 3, BLACK.filled());
                let text = Text::new(format!("{mark}"), (-6, -18), (FONT, 14).into_font());
                chart.draw_series([place + tick + text]).map_err(failed)?;
            }
            for (index, line) in self.lines.iter().enumerate() {
                let style = colour(index).stroke_width(2);
                let places = || line.points.iter().map(|&(x, y, _)| (across(x), y));
                let dots = places().map(|place| Circle::new(place, 3, style.filled()));
                chart.draw_series(dots).map_err(failed)?;
                match is_dashed(index) {
                    true => {
                        chart.draw_series(DashedLineSeries::new(places(), 7, 4, style)).map_err(failed)?
                    }
                    false => chart.draw_series(LineSeries::new(places(), style)).map_err(failed)?,
                };
                let spreads = line.points.iter().filter(|point| point.2 > 0.0).map(|&(x, y, spread)| {
                    PathElement::new(
                        [(across(x), y - spread), (across(x), y + spread)],
                        colour(index).stroke_width(1),
                    )
                });
                chart.draw_series(spreads).map_err(failed)?;
                let name = match line.points.last() {
                    Some((_, last, _)) if self.marks.is_none() => format!("{} {last:.1}", line.name),
                    _ => line.name.clone(),
                };
                let height = 40 + 20 * index as i32;
                let piece = |from, to| PathElement::new([(from, height + 7), (to, height + 7)], style);
                let pieces = if is_dashed(index) { vec![(4, 12), (18, 26)] } else { vec![(4, 26)] };
                for (from, to) in pieces {
                    names.draw(&piece(from, to)).map_err(failed)?;
                }
                names.draw(&Text::new(name, (34, height), (FONT, 14))).map_err(failed)?;
            }
            Ok(())
        })
    }
}

/// Colours come again.
fn is_dashed(index: usize) -> bool {
    index / PALETTE.len() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_seen() {
        let line = |name: &str, height: f64| Line {
            name: name.into(),
            points: [1.0, 5.0, 10.0, 100.0].map(|x: f64| (x, height + x.log10(), 0.5)).to_vec(),
        };
        let chart = Chart {
            title: "t",
            x: "share",
            y: "mIoU",
            marks: Some(&[1.0, 5.0, 10.0, 100.0]),
            lines: vec![line("one", 40.0), line("other", 50.0)],
        };
        for chart in [chart.clone(), Chart { marks: None, ..chart.clone() }] {
            let picture = chart.draw().expect("drawn");
            for colour in &PALETTE[..2] {
                assert!(picture.pixels().filter(|pixel| pixel.0 == *colour).count() > 200);
            }
        }
        Chart { lines: Vec::new(), ..chart }.draw().expect("nothing to draw is no error");
    }
}
