//! A picture of what the data set looks like.

use image::RgbImage;

use super::record::{Drawing, Record};
use super::split::Split;
use super::{ShapesConfig, ShapesError};
use crate::report::{self, Layer, Overlay, PALETTE};

/// Longer side of an image on the sheet, in pixels.
const LONG_SIDE: usize = 256;

/// The first images of val, a row of `columns` for each configuration, with outlines and boxes
/// in the colours of their expressions. The rows go on where the one before ended.
pub fn contact_sheet(configs: &[ShapesConfig], columns: usize) -> Result<RgbImage, ShapesError> {
    let mut pictures = Vec::new();
    for (row, config) in configs.iter().enumerate() {
        config.check()?;
        for index in row * columns..(row + 1) * columns {
            pictures.push(panel(config, index));
        }
    }
    Ok(report::contact_sheet(&pictures, columns))
}

fn panel(config: &ShapesConfig, index: usize) -> RgbImage {
    let drawing = Drawing::draw(config.seed, Split::Val, index, config.size, config.manner);
    let rgb = |x: u32, y: u32| {
        let at = 3 * (y as usize * drawing.width + x as usize);
        image::Rgb([drawing.rgb[at], drawing.rgb[at + 1], drawing.rgb[at + 2]])
    };
    let image = RgbImage::from_fn(drawing.width as u32, drawing.height as u32, rgb);
    let colour = |index: usize| PALETTE[index % PALETTE.len()];
    let lines: Vec<(usize, Vec<[f64; 2]>)> = drawing
        .records
        .iter()
        .enumerate()
        .flat_map(|(index, record)| record.mask.lines().into_iter().map(move |line| (index, line)))
        .collect();
    let title = format!("{} val {}", config.dataset(), drawing.image_id);
    let mut overlay = Overlay::new(&image).title(title).long_side(LONG_SIDE);
    for (index, line) in &lines {
        overlay = overlay.layer(Layer { colour: colour(*index), outline: line, ..Layer::default() });
    }
    for (index, record) in drawing.records.iter().enumerate() {
        let bbox = Some(corners(record));
        overlay = overlay.layer(Layer { colour: colour(index), bbox, ..Layer::default() });
        for expression in &record.expressions {
            overlay = overlay.caption(expression.as_str(), Some(colour(index)));
        }
    }
    overlay.draw()
}

fn corners(record: &Record) -> [f64; 4] {
    let [x, y, width, height] = record.bbox.map(|v| v as f64);
    [x, y, x + width, y + height]
}
